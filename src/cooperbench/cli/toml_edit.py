"""Changing keys of a settings file and leaving every other line of it as the user wrote it.

Only what `cooperbench config` needs: one value on one line, at the top or in a table. The result is
parsed again before it replaces the file: what this does not understand ends in an error, not in damage.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cooperbench import atomic, settings
from cooperbench.errors import UsageError


def change_file(file: Path, values: Mapping[tuple[str, ...], str | int | float | bool]) -> None:
    """Set keys of a settings file, each named by its tables and itself; its other lines stay as they are.

    Raises:
        UsageError: the file is damaged, or cannot be written.
    """
    settings.read_file(file)  # a damaged file is reported, not overwritten
    source = file.read_text(encoding="utf-8") if file.exists() else ""
    for path, value in values.items():
        source = assign(source, path, value)
    _replace(file, source)


def _replace(file: Path, content: str) -> None:
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        atomic.write_bytes(file, content.encode())
    except OSError as error:
        raise UsageError(f"cannot write {file}: {error.strerror or error}") from error


def assign(source: str, path: tuple[str, ...], value: str | int | float | bool) -> str:
    """`source` with the key at `path` set to `value`.

    Args:
        path: the names of the tables, then the key.

    Raises:
        UsageError: the file is written in a way this cannot change safely.
    """
    import tomllib

    wanted = tomllib.loads(source)
    _put(wanted, path, value)
    lines = source.splitlines()
    _edit(lines, path[:-1], path[-1], f"{_name(path[-1])} = {_literal(value)}")
    edited = "\n".join(lines).rstrip("\n") + "\n"
    try:
        same = tomllib.loads(edited) == wanted
    except ValueError:
        same = False
    if not same:
        raise UsageError(f"cannot set {'.'.join(path)} without touching other lines; edit the file by hand")
    return edited


def _put(tree: dict[str, Any], path: tuple[str, ...], value: Any) -> None:
    for name in path[:-1]:
        tree = tree.setdefault(name, {})
        if not isinstance(tree, dict):
            raise UsageError(f"cannot set {'.'.join(path)}: {name} is not a table")
    tree[path[-1]] = value


def _edit(lines: list[str], table: tuple[str, ...], key: str, assignment: str) -> None:
    start, end = _section(lines, table)
    if start is None:
        lines += ["", f"[{'.'.join(map(_name, table))}]", assignment]
        return
    same = re.compile(rf"\s*(?:{re.escape(key)}|{re.escape(json.dumps(key))})\s*=")
    for index in range(start, end):
        if same.match(lines[index]):
            lines[index] = assignment
            return
    while end > start and not lines[end - 1].strip():
        end -= 1
    lines.insert(end, assignment)


def _section(lines: list[str], table: tuple[str, ...]) -> tuple[int | None, int]:
    """Where a table's lines begin and end; the top of the file for the empty name."""
    heads = [index for index, line in enumerate(lines) if line.lstrip().startswith("[")]
    if not table:
        return 0, heads[0] if heads else len(lines)
    spelt = re.compile(r"\s*\[\s*" + r"\s*\.\s*".join(map(re.escape, map(_name, table))) + r"\s*\]\s*(#.*)?$")
    for index in heads:
        if spelt.match(lines[index]):
            return index + 1, next((other for other in heads if other > index), len(lines))
    return None, 0


def _name(key: str) -> str:
    return key if re.fullmatch(r"[A-Za-z0-9_-]+", key) else json.dumps(key, ensure_ascii=False)


def _literal(value: str | int | float | bool) -> str:
    """The value as TOML; a JSON string is a TOML string."""
    return json.dumps(value, ensure_ascii=False)
