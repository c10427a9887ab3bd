"""Command-line options of `docker` as its verbs take them; an unknown one is an error, as it is there."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field


class CommandFailed(Exception):
    """The command ends with this code, and this is said on standard error."""

    def __init__(self, message: str, code: int = 1) -> None:
        super().__init__(message)
        self.code = code


@dataclass(frozen=True, slots=True)
class Options:
    """What was given: values by long name, the rest in order."""

    values: dict[str, list[str]] = field(default_factory=dict)
    flags: frozenset[str] = frozenset()
    rest: tuple[str, ...] = ()

    def last(self, name: str, default: str = "") -> str:
        """The value given last."""
        return self.values.get(name, [default])[-1]

    def pairs(self, name: str) -> dict[str, str]:
        """Values of the form NAME=VALUE."""
        split = (value.partition("=") for value in self.values.get(name, []))
        return {key: value for key, _, value in split}


def parse(words: Sequence[str], valued: str, flags: str) -> Options:
    """Options up to the first operand.

    Args:
        valued: names of options that take a value, ``short|long`` separated by blanks.
        flags: names of those that take none.

    Raises:
        CommandFailed: an option that is not among them (125, as docker's own).
    """
    takes = _names(valued)
    plain = _names(flags)
    values: dict[str, list[str]] = {}
    given: set[str] = set()
    left = list(words)
    while left and left[0].startswith("-") and left[0] != "-":
        word = left.pop(0)
        if word == "--":
            break
        name, equals, value = word.partition("=")
        if name in takes:
            if not equals and not left:
                raise CommandFailed(f"flag needs an argument: {word}", 125)
            values.setdefault(takes[name], []).append(value if equals else left.pop(0))
        elif word in plain:
            given.add(plain[word])
        elif len(word) > 2 and word[1] != "-" and all(f"-{letter}" in plain for letter in word[1:]):
            given.update(plain[f"-{letter}"] for letter in word[1:])
        else:
            raise CommandFailed(f"unknown flag: {word}", 125)
    return Options(values, frozenset(given), tuple(left))


def _names(listed: str) -> dict[str, str]:
    found = {}
    for entry in listed.split():
        forms = entry.split("|")
        found.update({f"{'-' if len(form) == 1 else '--'}{form}": forms[-1] for form in forms})
    return found


def formatted(form: str, facts: Mapping[str, str]) -> str:
    """A template of docker's with these facts filled in."""

    def value(found: re.Match[str]) -> str:
        if found[1] not in facts:
            raise CommandFailed(f"loopback engine: template {found[0]} is not served")
        return facts[found[1]]

    return re.sub(r"\{\{\s*([^}]*?)\s*\}\}", value, form)
