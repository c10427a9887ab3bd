"""Files that are either old or new, never half: the one place that replaces files on the harness's disk.

A write goes to a temporary name in the same directory and is renamed over the target, so a process killed at any
instant leaves the old file or the new one. Nothing is fsynced: the guarantee is against dying processes, not against
power loss, and it keeps a run of ten thousand trials from waiting for the disk forty thousand times.
"""

from __future__ import annotations

import contextlib
import fcntl
import itertools
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from cooperbench.errors import RunConflict

_serial = itertools.count()


def write_bytes(path: Path, content: bytes) -> None:
    """Replace `path` with `content` in one step; its directory is made if it is not there."""
    temporary = f"{path.parent}/.{path.name}.{os.getpid()}.{next(_serial)}.tmp"
    try:
        try:
            _write(temporary, content)
        except FileNotFoundError:
            path.parent.mkdir(parents=True, exist_ok=True)
            _write(temporary, content)
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise


def append_bytes(path: Path, content: bytes) -> None:
    """Add `content` to the end of `path` in one step; its directory is made if it is not there."""
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o666)
    try:
        left = memoryview(content)
        while left:
            left = left[os.write(descriptor, left) :]
    finally:
        os.close(descriptor)


def _write(path: str, content: bytes) -> None:
    # Plain system calls: a run of ten thousand trials writes a hundred thousand files.
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o666)
    try:
        left = memoryview(content)
        while left:
            left = left[os.write(descriptor, left) :]
    finally:
        os.close(descriptor)


def write_json(path: Path, value: Any) -> None:
    """Replace `path` with `value` as JSON, its members or items a line each."""
    write_bytes(path, _lines(value).encode("utf-8", "replace") + b"\n")


def _lines(value: Any) -> str:
    # Not `indent`, with which Python leaves its quick encoder for one ten times slower: a run writes many files.
    if isinstance(value, dict) and value:
        inside = [f"  {_text({key: member})[1:-1]}" for key, member in value.items()]
        return f"{{\n{_COMMA.join(inside)}\n}}"
    if isinstance(value, list | tuple) and value:
        inside = [f"  {_text(item)}" for item in value]
        return f"[\n{_COMMA.join(inside)}\n]"
    return _text(value)


_COMMA = ",\n"
_text = json.JSONEncoder(ensure_ascii=False).encode


def read_json(path: Path) -> Any:
    """The JSON value in `path`; None when the file is missing, truncated or not JSON.

    Callers treat None as "not done yet": a half-written file of a killed or older harness must never end a run.
    """
    try:
        return json.loads(path.read_bytes(), parse_constant=_refused)
    except (OSError, ValueError, RecursionError):
        return None


def _refused(constant: str) -> None:
    raise ValueError(f"{constant} is not JSON")  # Python's own reader takes NaN and Infinity


@contextlib.contextmanager
def locked(path: Path, busy: str) -> Iterator[None]:
    """Hold an exclusive lock on `path` (created if absent); the kernel drops it when the process dies.

    Raises:
        RunConflict: somebody else holds it; its message is `busy`.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise RunConflict(busy) from None
        yield
    finally:
        os.close(descriptor)
