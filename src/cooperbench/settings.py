"""What a user has settled once: two small TOML files and a few environment variables, read when asked for.

Precedence, strongest first: a flag (or an argument in Python), the environment, ``./cooperbench.toml``, the
user's own file. Writing the user's file is `cooperbench.cli.toml_edit`.
"""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cooperbench.errors import UsageError

PROJECT_FILE = "cooperbench.toml"

KEYS: Mapping[str, type] = {
    "backend": str,
    "concurrency": int,
    "eval_concurrency": int,
    "dataset_dir": str,
    "logs_dir": str,
}
"""Every key of a settings file and its type; besides them, one table ``[backends.NAME]`` for each backend."""

TABLE = "backends"


@dataclass(frozen=True, slots=True)
class Settings:
    """The merged settings; None where nobody has said anything."""

    values: Mapping[str, str | int] = field(default_factory=dict)
    origins: Mapping[str, str] = field(default_factory=dict)
    """Key → where its value comes from, for people."""
    backends: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """Backend name → its own table; the user's file and the project's are merged key by key."""

    def text(self, key: str) -> str | None:
        """A setting that is a string."""
        value = self.values.get(key)
        return None if value is None else str(value)

    def number(self, key: str) -> int | None:
        """A setting that is a whole number."""
        value = self.values.get(key)
        return value if isinstance(value, int) else None


def user_file() -> Path:
    """The user's settings file; it need not exist.

    Raises:
        UsageError: nothing says where this user's files are.
    """
    from platformdirs import user_config_path

    try:
        return user_config_path("cooperbench", appauthor=False) / "config.toml"
    except RuntimeError as problem:  # an id without an account, as in many containers
        raise UsageError("this user has no home directory: set HOME or XDG_CONFIG_HOME") from problem


def variable(key: str) -> str:
    """The environment variable of a key."""
    return f"COOPERBENCH_{key.upper()}"


def load(
    environ: Mapping[str, str] | None = None, *, project: Path | None = None, user: Path | None = None
) -> Settings:
    """Read everything anew: files and environment.

    Args:
        environ: None for the process's own.
        project: None for ``./cooperbench.toml``.
        user: None for `user_file()`.

    Raises:
        UsageError: a file or a variable does not hold what it should; the message names it.
    """
    environ = os.environ if environ is None else environ
    values: dict[str, str | int] = {}
    origins: dict[str, str] = {}
    tables: dict[str, dict[str, Any]] = {}
    for path in (user_file() if user is None else user, Path(PROJECT_FILE) if project is None else project):
        found = read_file(path)
        for name, table in found.pop(TABLE, {}).items():
            tables.setdefault(name, {}).update(table)
        values.update(found)
        origins.update(dict.fromkeys(found, str(path)))
    for key, value in _from_environment(environ):
        values[key], origins[key] = value, variable(key)
    return Settings(values, origins, tables)


def backend_options(name: str, known: Collection[str] = ()) -> Mapping[str, Any]:
    """The table ``[backends.NAME]`` of the settings files; empty when there is none.

    Raises:
        UsageError: there is none, but one of nearly its name that is none of the `known` backends'. What it asks for
            would not be given, and nobody would be told.
    """
    from difflib import get_close_matches

    tables = load().backends
    others = tables.keys() - {*known}
    if name not in tables and (near := get_close_matches(name, sorted(others), n=1, cutoff=0.75)):
        raise UsageError(f"the settings have a table [{TABLE}.{near[0]}]; did you mean [{TABLE}.{name}]?")
    return tables.get(name, {})


# ---------------------------------------------------------------------------------------------- reading


def read_file(path: Path) -> dict[str, Any]:
    """One settings file, checked; empty when it does not exist.

    Raises:
        UsageError: unreadable, not TOML, an unknown key or a value of the wrong type.
    """
    import tomllib

    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror or error}") from error
    except ValueError as error:  # not UTF-8, or not TOML
        raise UsageError(f"{path} is not valid TOML: {error}") from error
    for key, value in content.items():
        _check(key, value, str(path))
    return content


def _from_environment(environ: Mapping[str, str]) -> Iterator[tuple[str, str | int]]:
    for key in KEYS:
        text = environ.get(variable(key), "").strip()
        if text:
            yield key, parse(key, text, variable(key))
    for name in environ:
        if name.startswith(variable("")):
            _refuse_near_miss(name)


def _refuse_near_miss(name: str) -> None:
    """A misspelt variable would be no setting, and nobody would be told."""
    from difflib import get_close_matches

    key = name.removeprefix(variable("")).lower()
    if key not in KEYS and (near := get_close_matches(key, KEYS, n=1, cutoff=0.8)):
        raise UsageError(f"the environment variable {name} means nothing; did you mean {variable(near[0])}?")


def parse(key: str, text: str, where: str) -> str | int:
    """A value written as text (environment, command line) in its key's type.

    Raises:
        UsageError: no such key, or not a value of its type; the message says `where`.
    """
    if KEYS.get(key) is not int:
        _check(key, text, where)
        return text
    try:
        number = int(text)
    except ValueError:
        raise UsageError(f"{where}: {key} is a whole number above 0, not {text!r}") from None
    _check(key, number, where)
    return number


def _check(key: str, value: Any, where: str) -> None:
    if key == TABLE:
        if not isinstance(value, dict) or not all(isinstance(table, dict) for table in value.values()):
            raise UsageError(f"{where}: {TABLE} holds one table for each backend, as in [{TABLE}.local]")
        return
    if key not in KEYS:
        raise UsageError(f"{where}: unknown key {key!r}{did_you_mean(key, [*KEYS, TABLE])}")
    if key == "backend" and isinstance(value, dict):
        raise UsageError(f"{where}: backend is a backend's name; options of a backend go into [{TABLE}.NAME]")
    if KEYS[key] is int and (type(value) is not int or value < 1):
        raise UsageError(f"{where}: {key} is a whole number above 0, not {value!r}")
    if KEYS[key] is str and (not isinstance(value, str) or not value.strip()):
        raise UsageError(f"{where}: {key} is a text in quotes, not {value!r}")


_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([kmgt]?)(?:i?b)?", re.ASCII)


def size(text: str) -> int | None:
    """Bytes out of text such as ``512m`` or ``1.5 GiB``, units of 1024; None if it is no size."""
    found = _SIZE.fullmatch(text.strip().lower())
    return None if found is None else int(float(found[1]) * 1024 ** " kmgt".index(found[2] or " "))


def did_you_mean(word: str, known: list[str]) -> str:
    """The end of a sentence about an unknown word: the nearest known one, else all of them."""
    from difflib import get_close_matches

    near = get_close_matches(word, known, n=1)
    return f"; did you mean {near[0]!r}?" if near else f"; there are: {', '.join(known)}"
