"""Files as tar archives: packing ours, unpacking what came out of a sandbox. Pure; touches no disk.

What comes out of a sandbox was written by code under judgement: every size, name and type in it is a claim.
"""

from __future__ import annotations

import io
import re
import tarfile
import time
import zlib
from collections.abc import Mapping

from cooperbench.errors import BackendError, UsageError

MAX_FILES = 1000
"""Files taken from one directory; a judge leaves a few dozen."""

_BLOCK = 512

_BROKEN = (tarfile.TarError, zlib.error, OSError, ValueError, LookupError, ArithmeticError, RecursionError)
"""What the readers of the standard library raise on bytes that are not an archive."""


def pack(files: Mapping[str, bytes]) -> bytes:
    """An archive, to be unpacked at ``/``, of files by their absolute paths.

    Directories are not in it, so unpacking leaves the modes of existing ones alone.
    """
    stream = io.BytesIO()
    # GNU's long names are what busybox's tar reads too.
    with tarfile.open(fileobj=stream, mode="w", format=tarfile.GNU_FORMAT) as archive:
        for path, content in files.items():
            member = tarfile.TarInfo(_checked(path)[1:])
            member.size, member.mode, member.mtime = len(content), _mode(path), int(time.time())
            archive.addfile(member, io.BytesIO(content))
    return stream.getvalue()


def unpack(archive: bytes, limit: int) -> dict[str, bytes]:
    """The regular files at the top of a tar archive; directories, links and deeper files are passed over.

    Raises:
        BackendError: not a whole archive, a name twice, too many files, or more than `limit` bytes.
    """
    plain = _plain_files(archive, limit)
    if plain is not None:
        return plain
    try:
        with tarfile.open(fileobj=io.BytesIO(archive), mode="r:") as members:
            return _regular_files(members, limit)
    except _BROKEN as problem:
        raise BackendError(
            f"the sandbox sent a broken archive ({len(archive)} bytes): {problem}"
        ) from problem


def _plain_files(archive: bytes, limit: int) -> dict[str, bytes] | None:
    """What `unpack` gives, for an archive with nothing but short names and plain members, as a judge's is.

    Some ten times faster than `tarfile`. None for everything else, whatever is wrong with it: that is for `tarfile`
    to read, or to refuse.
    """
    files: dict[str, bytes] = {}
    at = 0
    while (header := archive[at : at + _BLOCK]).strip(b"\0"):
        size = _plain_size(header)
        if size is None or at + _BLOCK + size > len(archive):
            return None
        name = header[:100].partition(b"\0")[0].decode("utf-8", "surrogateescape").removeprefix("./")
        at += _BLOCK
        if header[156:157] == b"0" and "/" not in name and name not in ("", ".", ".."):
            limit -= size
            if limit < 0 or name in files or len(files) >= MAX_FILES:
                return None
            files[name] = archive[at : at + size]
        at += -(-size // _BLOCK) * _BLOCK
    return files if len(header) == _BLOCK else None


def _plain_size(header: bytes) -> int | None:
    """The size of a plain file or directory; None for any other member and for a header that is not sound."""
    digits, checksum = header[124:135], header[148:154]
    if len(header) != _BLOCK or header[156:157] not in (b"0", b"5") or header[345:500].strip(b"\0"):
        return None
    if re.fullmatch(rb"[0-7]{11}\0", header[124:136]) is None:
        return None
    if re.fullmatch(rb"[0-7]{6}\0 ", header[148:156]) is None:
        return None
    if sum(header) - sum(header[148:156]) + 8 * 32 != int(checksum, 8):
        return None
    size = int(digits, 8)
    return size if header[156:157] == b"0" or size == 0 else None


def decompress(packed: bytes, limit: int) -> bytes:
    """What gzip packed, if it is whole and at most `limit` bytes."""
    stream = zlib.decompressobj(wbits=zlib.MAX_WBITS | 16)
    try:
        plain = stream.decompress(packed, limit + 1)
    except _BROKEN as problem:
        raise BackendError(f"the sandbox sent a broken archive ({len(packed)} bytes): {problem}") from problem
    if len(plain) > limit:
        raise BackendError(f"the sandbox sent more than {limit} bytes")
    if not stream.eof:
        raise BackendError(f"the sandbox sent a broken archive ({len(packed)} bytes): its end is missing")
    return plain


def _regular_files(members: tarfile.TarFile, limit: int) -> dict[str, bytes]:
    files: dict[str, bytes] = {}
    left = limit
    for member in members:
        name = member.name.removeprefix("./")
        if not member.isreg() or "/" in name or name in ("", ".", ".."):
            continue
        left -= member.size
        # Before reading: a sparse member of a few bytes may claim to be of any size.
        if left < 0 or member.size < 0 or len(files) >= MAX_FILES:
            raise BackendError(f"the sandbox sent more than {limit} bytes or {MAX_FILES} files")
        if name in files:
            raise BackendError(f"the sandbox sent the file {name!r} twice")
        content = members.extractfile(member)
        files[name] = content.read() if content is not None else b""
        if len(files[name]) != member.size:
            raise BackendError(f"the sandbox sent a broken archive: the file {name!r} is cut short")
    return files


def _checked(path: str) -> str:
    if not path.startswith("/") or path.endswith("/") or "\0" in path or ".." in path.split("/"):
        raise UsageError(f"cannot put a file at {path!r}: give an absolute path without '..'")
    return path


def _mode(path: str) -> int:
    """Programs are what looks like one: shell scripts, and whatever lies directly in a ``bin``."""
    return 0o755 if path.endswith(".sh") or path.split("/")[-2] == "bin" else 0o644
