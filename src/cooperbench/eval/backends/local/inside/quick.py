"""A few small files in or out of a sandbox, by PID 1 itself: forking it costs more than the work.

PID 1 has commands and limits to look after, so what could take long is not begun, or is given up: the answer is None
then, and so it is when anything is wrong. A forked child does the whole of it in that case (`archives`), over what is
there already, and says what is wrong.
"""

from __future__ import annotations

import itertools
import os
import stat

from . import archives
from .tarstream import BLOCK, Member, TarStream

MOST_BYTES = 4 << 20
MOST_FILES = 64
_LONGEST_DIRECTORY = 1 << 16
_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


def unpack(archive: int, directory: str) -> int | None:
    """Like `archives.unpack`, for an archive of a few small files."""
    if os.fstat(archive).st_size > MOST_BYTES:
        return None
    os.lseek(archive, 0, os.SEEK_SET)
    count = 0
    try:
        os.makedirs(directory, exist_ok=True)
        stream = TarStream(archive)
        for member in stream:
            target = archives.inside(directory, os.fsdecode(member.name))
            if target is None or count == MOST_FILES or not _plain(member) or not _make_way(target):
                return None
            _write(target, member, stream)
            count += 1
    except (OSError, ValueError):
        return None
    return count


def _plain(member: Member) -> bool:
    return member.kind == "file" and member.sparse is None and not member.attributes


def _make_way(target: str) -> bool:
    """Whether nothing is at `target` now, and its directory there."""
    try:
        found = os.lstat(target)
    except FileNotFoundError:
        os.makedirs(os.path.dirname(target), exist_ok=True)
        return True
    if stat.S_ISDIR(found.st_mode) or found.st_blocks * 512 > MOST_BYTES:
        return False
    os.unlink(target)
    return True


def _write(target: str, member: Member, stream: TarStream) -> None:
    file = os.open(target, _CREATE, 0o600)
    try:
        for piece in stream.content():
            while piece:
                piece = piece[os.write(file, piece) :]
        os.fchmod(file, member.mode)
    finally:
        os.close(file)


def pack(directory: str, limit: int, target: int, root: str = "/") -> int | None:
    """Like `archives.pack`, for a directory of a few small files on the file system of `root`, which is no device."""
    try:
        packed = _packed(directory, min(limit, MOST_BYTES), os.lstat(root).st_dev)
        if packed is None or os.pwritev(target, packed, 0) != sum(map(len, packed)):
            return None
    except (OSError, ValueError):
        return None
    return len(packed) // 2


def _packed(directory: str, left: int, device: int) -> list[bytes] | None:
    """A header and a content for each file, and the archive's end after them."""
    base = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        found = os.fstat(base)
        if found.st_dev != device or found.st_size > _LONGEST_DIRECTORY:
            return None
        with os.scandir(base) as entries:
            if len(list(itertools.islice(entries, MOST_FILES + 1))) > MOST_FILES:
                return None
    finally:
        os.close(base)
    packed: list[bytes] = []
    for name, file, status in archives.regular_files(directory):
        left -= status.st_size
        if left < 0:
            return None
        content = archives.Padded(file).read(status.st_size)
        packed += archives.described(name, status).tobuf(), content + bytes(-len(content) % BLOCK)
    return [*packed, bytes(2 * BLOCK)]
