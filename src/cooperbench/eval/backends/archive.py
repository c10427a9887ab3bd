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
    now, parts = int(time.time()), []
    for path, content in files.items():
        parts += [_header(_checked(path)[1:], _mode(path), len(content), now), content]
        parts.append(bytes(-len(content) % _BLOCK))
    parts.append(bytes(2 * _BLOCK))
    parts.append(bytes(-sum(map(len, parts)) % tarfile.RECORDSIZE))
    return b"".join(parts)


def _header(name: str, mode: int, size: int, mtime: int) -> bytes:
    """As `tarfile` writes it, ten times faster where there is nothing special: every judgement sends an archive."""
    raw = name.encode("utf-8", "surrogateescape")
    if len(raw) > tarfile.LENGTH_NAME or size >= 8**11:
        member = tarfile.TarInfo(name)
        member.mode, member.size, member.mtime = mode, size, mtime
        # GNU's long names are what busybox's tar reads too.
        return member.tobuf(tarfile.GNU_FORMAT, "utf-8", "surrogateescape")
    before = raw.ljust(100, b"\0") + b"%07o\0" % mode + b"0000000\0" * 2 + b"%011o\0%011o\0" % (size, mtime)
    after = b"0" + bytes(100) + tarfile.GNU_MAGIC
    checksum = sum(before) + sum(after) + 8 * 32  # as if it were eight blanks itself
    return (before + b"%06o\0 " % checksum + after).ljust(_BLOCK, b"\0")


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
    if len(header) != _BLOCK or header[345:500].strip(b"\0"):
        return None
    found = _PLAIN.match(header, 124)
    if found is None:
        return None
    digits, checksum, kind = found.groups()
    if sum(header.translate(None, b"\0")) - sum(header[148:156]) + 8 * 32 != int(checksum, 8):
        return None
    size = int(digits, 8)
    return size if kind == b"0" or size == 0 else None


_PLAIN = re.compile(rb"([0-7]{11})\0.{12}([0-7]{6})\0 ([05])", re.DOTALL)
"""Size, time, checksum and type, which stand at 124 of a header."""


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
