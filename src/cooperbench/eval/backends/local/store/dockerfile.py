"""Dockerfiles as far as this backend builds them: FROM, ARG, ENV, WORKDIR, COPY, RUN, ENTRYPOINT, CMD. Pure text.

Everything else is refused by its name: an image that is nearly what its author meant is worse than none.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass

from cooperbench.errors import UsageError

KNOWN = ("FROM", "ARG", "ENV", "WORKDIR", "COPY", "RUN", "ENTRYPOINT", "CMD")
_ELSEWHERE = "build it with an engine (--backend docker), then `cooperbench images import docker-daemon:NAME`"
_DIRECTIVE = re.compile(r"#\s*([A-Za-z]+)\s*=\s*(\S+)")
_HEREDOC = re.compile(r"<<-?\s*[\"']?[A-Za-z_]")
_VARIABLE = re.compile(r"\$(?:([A-Za-z_]\w*)|\{([A-Za-z_]\w*)(?:(:[-+])([^}]*))?\})")


@dataclass(frozen=True, slots=True)
class Instruction:
    """One instruction as it stands in the file."""

    name: str
    text: str
    """What follows the name, continued lines joined."""
    line: int


def parse(text: str, where: str) -> list[Instruction]:
    """The instructions of a Dockerfile, the first of them FROM (or ARGs before it).

    Raises:
        UsageError: something this backend does not build; the message names it.
    """
    lines = text.splitlines()
    _refuse_directives(lines, where)
    found: list[Instruction] = []
    parts: list[str] = []
    begun = 0
    for number, line in enumerate(lines, 1):
        if line.lstrip().startswith("#") or (parts and not line.strip()):
            continue
        begun = begun if parts else number
        continued = re.search(r"\\[ \t]*$", line)
        parts.append(line[: continued.start()] if continued else line)
        if not continued:
            found += _instruction("".join(parts), begun, where)
            parts = []
    found += _instruction("".join(parts), begun, where)
    stages = [each for each in found if each.name == "FROM"]
    if not stages:
        raise UsageError(f"{where}: it has no FROM")
    if len(stages) > 1:
        raise refused(f"{where}:{stages[1].line}: several stages (a second FROM)")
    if any(each.name != "ARG" for each in found[: found.index(stages[0])]):
        raise UsageError(f"{where}:{found[0].line}: {found[0].name} before FROM")
    return found


def _refuse_directives(lines: list[str], where: str) -> None:
    for number, line in enumerate(lines, 1):
        directive = _DIRECTIVE.match(line)
        if directive is None:
            return
        if directive[1].lower() == "escape" and directive[2] != "\\":
            raise refused(f"{where}:{number}: the directive escape={directive[2]}")


def _instruction(text: str, line: int, where: str) -> list[Instruction]:
    name, _, rest = text.strip().partition(" ")
    name, _, tail = name.partition("\t")
    if not name:
        return []
    rest = f"{tail} {rest}".strip() if tail else rest.strip()
    here = f"{where}:{line}"
    if name.upper() not in KNOWN:
        raise refused(f"{here}: the instruction {name.upper()}")
    if name.upper() in ("RUN", "COPY") and _HEREDOC.search(rest):
        raise refused(f"{here}: a here-document in {name.upper()}")
    if rest.startswith("--"):
        raise refused(f"{here}: {name.upper()} {rest.split()[0].partition('=')[0]}")
    if not rest:
        raise UsageError(f"{here}: {name.upper()} of nothing")
    return [Instruction(name.upper(), rest, line)]


def refused(what: str) -> UsageError:
    """The complaint that this backend does not build something."""
    return UsageError(f"{what}: the local backend does not build that; {_ELSEWHERE}")


# ---------------------------------------------------------------------------------------------- words


def words(text: str, values: Mapping[str, str]) -> list[str]:
    """Words as in a shell, quotes taken away and variables put in.

    Raises:
        UsageError: a quote is not closed.
    """
    found: list[str] = []
    current: str | None = None
    quote = ""
    at = 0
    while at < len(text):
        char = text[at]
        variable = _VARIABLE.match(text, at) if char == "$" and quote != "'" else None
        if variable is not None:
            current = (current or "") + _value(variable, values)
            at = variable.end()
            continue
        at += 1
        if quote and char == quote:
            quote = ""
        elif not quote and char in "\"'":
            quote, current = char, current or ""
        elif char == "\\" and quote != "'" and at < len(text) and (not quote or text[at] in '"$\\'):
            current, at = (current or "") + text[at], at + 1
        elif not quote and char.isspace():
            found += [current] if current is not None else []
            current = None
        else:
            current = (current or "") + char
    if quote:
        raise UsageError(f"a quote {quote} is not closed in: {text[:80]}")
    return found + ([current] if current is not None else [])


def _value(variable: re.Match[str], values: Mapping[str, str]) -> str:
    value = values.get(variable[1] or variable[2], "")
    if variable[3] == ":-":
        return value or expanded(variable[4], values)
    if variable[3] == ":+":
        return expanded(variable[4], values) if value else ""
    return value


def expanded(text: str, values: Mapping[str, str]) -> str:
    """A text as one word, variables put in."""
    return _VARIABLE.sub(lambda variable: _value(variable, values), text)


def assignments(text: str, values: Mapping[str, str]) -> dict[str, str]:
    """What ENV says: ``NAME=value …``, or the older ``NAME the rest of the line``."""
    first = re.match(r"([A-Za-z_][\w.-]*)(\s+)(.*)", text)
    if first is not None:
        return {first[1]: " ".join(words(first[3], values))}
    found = {}
    for word in words(text, values):
        name, equals, value = word.partition("=")
        if not equals or not name:
            raise UsageError(f"ENV needs NAME=value, not {word[:80]!r}")
        found[name] = value
    return found


def argument(text: str, values: Mapping[str, str]) -> tuple[str, str | None]:
    """What ARG says: a name, and its value unless it is given from outside."""
    (word, *more) = words(text, values) or [""]
    name, equals, value = word.partition("=")
    if more or not re.fullmatch(r"[A-Za-z_]\w*", name):
        raise UsageError(f"ARG needs one NAME or NAME=value, not {text[:80]!r}")
    return name, value if equals else None


def command(text: str) -> list[str]:
    """What RUN, ENTRYPOINT and CMD run: the list as it is written, or the shell's."""
    listed = json_list(text)
    return listed if listed is not None else ["/bin/sh", "-c", text]


def json_list(text: str) -> list[str] | None:
    """A JSON list of texts; None when it is not one."""
    if not text.startswith("["):
        return None
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, list) and all(isinstance(each, str) for each in value) else None
