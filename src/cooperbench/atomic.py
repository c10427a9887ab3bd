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
from json.encoder import encode_basestring
from pathlib import Path
from typing import Any

from cooperbench.errors import RunConflict, UsageError

_serial = itertools.count()
_PIECE = 1024 * 1024


def write_bytes(path: Path | str, content: bytes) -> None:
    """Replace `path` with `content` in one step; its directory is made if it is not there."""
    folder, slash, name = os.fspath(path).rpartition("/")
    temporary = f"{folder}{slash}.{name}.{os.getpid()}.{next(_serial)}.tmp"
    try:
        try:
            _write(temporary, content)
        except FileNotFoundError:
            os.makedirs(folder, exist_ok=True)
            _write(temporary, content)
        os.replace(temporary, path)
    except BaseException as error:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        if isinstance(error, OSError) and error.filename is None:  # a write does not say whose it was
            error.filename = os.fspath(path)
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


def write_json(path: Path | str, value: Any) -> None:
    """Replace `path` with `value` as JSON, its members or items a line each."""
    write_bytes(path, json_lines(value).encode("utf-8", "replace"))


def json_lines(value: Any) -> str:
    """`value` as JSON, its members or items a line each, characters beyond ASCII as they are."""
    # Not `indent`, with which Python leaves its quick encoder for one ten times slower: a run writes many files.
    if isinstance(value, dict) and value:
        inside = [f"  {_member(key, member)}" for key, member in value.items()]
        return f"{{\n{_COMMA.join(inside)}\n}}\n"
    if isinstance(value, list | tuple) and value:
        inside = [f"  {_text(item)}" for item in value]
        return f"[\n{_COMMA.join(inside)}\n]\n"
    return _encode(value) + "\n"


_COMMA = ",\n"
_encode = json.JSONEncoder(ensure_ascii=False).encode


def _member(key: Any, value: Any) -> str:
    return f"{encode_basestring(key)}: {_text(value)}" if type(key) is str else _encode({key: value})[1:-1]


def _text(value: Any) -> str:
    # Most members are one of these, and the encoder takes ten times as long to begin as they take to be written.
    kind = type(value)
    if kind is str:
        return encode_basestring(value)
    if value is None:
        return "null"
    if kind is bool:
        return "true" if value else "false"
    return repr(value) if kind is int else _encode(value)


def read_bytes(path: Path | str) -> bytes:
    """The contents of a file; half the system calls of Python's own, which many small files are felt by.

    Raises:
        OSError: it cannot be read.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        size = os.fstat(descriptor).st_size
        content = os.read(descriptor, size + 1)
        if not 0 < len(content) == size:  # else the end has been seen: one byte more was asked for
            while piece := os.read(descriptor, _PIECE):
                content += piece
        return content
    finally:
        os.close(descriptor)


def read_json(path: Path | str) -> Any:
    """The JSON value in `path`; None when the file is missing, truncated or not JSON.

    Callers treat None as "not done yet": a half-written file of a killed or older harness must never end a run.
    """
    try:
        return _parsed(read_bytes(path))
    except OSError:
        return None


def kept_json(path: Path | str) -> Any:
    """`read_json` of a file whose absence makes work be done, paid for or written over again.

    Raises:
        UsageError: the file is there and the system does not let it be read, now or at all: nothing is known of it.
    """
    try:
        content = read_bytes(path)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        why = error.strerror or str(error)
        raise UsageError(
            f"cannot read {path}: {why}; what it holds is not to be lost, so see to that first"
        ) from error
    return _parsed(content)


def _parsed(content: bytes) -> Any:
    try:
        try:
            return _decode(content.decode("utf-8"))
        except ValueError:  # it may be of another encoding
            return json.loads(content, parse_constant=_refused)
    except (ValueError, RecursionError):
        return None


def _refused(constant: str) -> None:
    raise ValueError(f"{constant} is not JSON")  # Python's own reader takes NaN and Infinity


_decode = json.JSONDecoder(parse_constant=_refused).decode


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
