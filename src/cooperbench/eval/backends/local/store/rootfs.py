"""A directory as an image's one layer: its files as a tar, the same bytes whenever the files are the same."""

from __future__ import annotations

import os
import stat
import tarfile
from collections.abc import Iterator
from pathlib import Path

from cooperbench.errors import SandboxStartError
from cooperbench.eval.backends.local.store import streams

_KINDS = {
    stat.S_IFREG: tarfile.REGTYPE,
    stat.S_IFDIR: tarfile.DIRTYPE,
    stat.S_IFLNK: tarfile.SYMTYPE,
    stat.S_IFIFO: tarfile.FIFOTYPE,
    stat.S_IFCHR: tarfile.CHRTYPE,
    stat.S_IFBLK: tarfile.BLKTYPE,
}


def archive(directory: Path) -> Iterator[bytes]:
    """The tar of everything below `directory`, with owners, times, hard links and attributes; sockets are left out.

    Files of the user who runs this are root's in it, as in every image he makes otherwise.

    Raises:
        SandboxStartError: a file cannot be read, or changes meanwhile.
    """
    seen: dict[tuple[int, int], str] = {}
    try:
        for name, path in _walk(directory):
            yield from _member(name, path, seen)
    except OSError as problem:
        raise SandboxStartError(f"{problem.filename or directory}: {problem.strerror}") from problem
    yield bytes(2 * tarfile.BLOCKSIZE)


def _walk(directory: Path) -> Iterator[tuple[str, str]]:
    yield ".", str(directory)
    pending = [("", str(directory))]
    while pending:
        prefix, path = pending.pop()
        for name in sorted(os.listdir(path)):
            inner = f"{path}/{name}"
            yield f"{prefix}{name}", inner
            if stat.S_ISDIR(os.lstat(inner).st_mode):
                pending.append((f"{prefix}{name}/", inner))


def _member(name: str, path: str, seen: dict[tuple[int, int], str]) -> Iterator[bytes]:
    status = os.lstat(path)
    kind = _KINDS.get(stat.S_IFMT(status.st_mode))
    if kind is None:
        return
    member = tarfile.TarInfo(name)
    member.type, member.mode = kind, stat.S_IMODE(status.st_mode)
    member.uid, member.gid = _owner(status)
    member.pax_headers = {"mtime": f"{status.st_mtime_ns // 10**9}.{status.st_mtime_ns % 10**9:09d}"}
    if kind == tarfile.SYMTYPE:
        member.linkname = os.readlink(path)
    elif kind != tarfile.DIRTYPE and status.st_nlink > 1:
        first = seen.setdefault((status.st_dev, status.st_ino), name)
        if first != name:
            member.type, member.linkname = tarfile.LNKTYPE, first
    if kind in (tarfile.CHRTYPE, tarfile.BLKTYPE):
        member.devmajor, member.devminor = os.major(status.st_rdev), os.minor(status.st_rdev)
    if member.type in (tarfile.REGTYPE, tarfile.DIRTYPE):
        for key in sorted(os.listxattr(path, follow_symlinks=False)):
            value = os.getxattr(path, key, follow_symlinks=False)
            member.pax_headers[f"SCHILY.xattr.{key}"] = value.decode("utf-8", "surrogateescape")
    member.size = status.st_size if member.type == tarfile.REGTYPE else 0
    yield member.tobuf(tarfile.PAX_FORMAT, "utf-8", "surrogateescape")
    if member.size:
        yield from _content(path, member.size)


def _owner(status: os.stat_result) -> tuple[int, int]:
    me = os.geteuid(), os.getegid()
    return (
        0 if status.st_uid == me[0] else status.st_uid,
        0 if status.st_gid == me[1] else status.st_gid,
    )


def _content(path: str, size: int) -> Iterator[bytes]:
    left = size
    with open(path, "rb") as file:
        while left:
            piece = file.read(min(left, streams.PIECE))
            if not piece:
                raise SandboxStartError(f"{path} became shorter while it was read")
            left -= len(piece)
            yield piece
    yield bytes(-size % tarfile.BLOCKSIZE)
