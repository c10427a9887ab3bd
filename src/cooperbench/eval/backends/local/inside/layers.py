"""One image layer from a tar stream to a directory tree in overlay format, confined to that directory.

Runs in a forked child of the zygote, which has no host identity: its user namespace holds the sandboxes' ids only. The
child makes the directory its root, gives up every capability but those that files take, and then reads the archive, so
whatever a hostile layer names (absolute or climbing paths, links out of the tree, through links of its own) resolves
inside the directory. What the overlay itself gives a meaning to never comes from a layer: its attributes are dropped,
its whiteouts are made by us.
"""

from __future__ import annotations

import contextlib
import errno
import os
import resource
import stat
from typing import Any

from . import archives, kernel
from .tarstream import Member, TarStream

WHITEOUT = b".wh."
_OPAQUE = b".wh..wh..opq"
_LEGACY = b".wh..wh."
"""Bookkeeping of a union file system of old; means nothing to anybody."""
_OVERLAYS = (b"user.overlay.", b"trusted.")
_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
# CHOWN DAC_OVERRIDE FOWNER FSETID SETFCAP
_CAPABILITIES = frozenset({0, 1, 3, 4, 31})
_MEMORY = 2 << 30
_HOLE = 1 << 16
"""Zeros of this length or more are not written."""
_ZEROS = bytes(_HOLE)
_LOOK_EVERY = 64 << 20
_FEWEST_INODES = 10_000
_LATEST = 1 << 62
_BEYOND = (1 << 32) - 1
_REFUSED_ATTRIBUTE = frozenset({errno.ENOTSUP, errno.EPERM, errno.EINVAL})


def unpack(source: int, order: dict[str, Any], reply: int) -> dict[str, int]:
    """Unpack the tar that comes out of `source` into the new directory ``order["directory"]``.

    Returns:
        `size` in bytes, `members`, `foreign` (members whose owner the id map has no place for: they are root's) and
        `devices` (left out: nothing in a sandbox may make one).
    """
    _confine(order["directory"], source, reply)
    return _Layer(TarStream(source), order["many_ids"], order["reserve"]).unpack()


def _confine(directory: str, source: int, reply: int) -> None:
    os.mkdir(directory, 0o755)
    os.chroot(directory)
    os.chdir("/")
    os.umask(0)
    low, high = sorted((source, reply))
    os.closerange(3, low)
    os.closerange(low + 1, high)
    os.closerange(high + 1, 4096)
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    if hard == resource.RLIM_INFINITY or hard > _MEMORY:
        resource.setrlimit(resource.RLIMIT_AS, (_MEMORY, _MEMORY))
    kernel.prctl(kernel.PR_SET_NO_NEW_PRIVS, 1)
    kernel.keep_capabilities(_CAPABILITIES)


class _Layer:
    """The directory being filled, which is our root and working directory."""

    def __init__(self, stream: TarStream, many_ids: bool, reserve: int) -> None:
        self._stream = stream
        self._many_ids = many_ids
        self._reserve = reserve
        self._directories: dict[bytes, int] = {}
        """Path → time of last change, set when nothing changes any more."""
        self._written = 0
        self._look_at = 0
        self._told = {"size": 0, "members": 0, "foreign": 0, "devices": 0}

    def unpack(self) -> dict[str, int]:
        """All of it, and the stream to its end."""
        for member in self._stream:
            self._take(member)
            self._told["members"] += 1
            if self._written >= self._look_at or not self._told["members"] % 4096:
                self._look_at = self._written + _LOOK_EVERY
                self._refuse_full_disk()
        self._stream.drain()
        for path, mtime in reversed(self._directories.items()):
            with contextlib.suppress(FileNotFoundError, NotADirectoryError):
                os.utime(path, ns=(mtime, mtime), follow_symlinks=False)
        return {**self._told, "size": self._written}

    def _refuse_full_disk(self) -> None:
        found = os.statvfs("/")
        if found.f_bavail * found.f_frsize < self._reserve or (
            found.f_files > 0 and found.f_favail < _FEWEST_INODES
        ):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def _take(self, member: Member) -> None:
        path = _inside(member.name)
        base = path.rpartition(b"/")[2]
        if base.startswith(WHITEOUT):
            self._whiteout(path, base)
        elif member.kind == "device":
            self._told["devices"] += 1
        elif member.kind == "directory":
            self._directory(path, member)
        elif not path:
            raise ValueError("an archive member has no name")
        elif member.kind == "file":
            self._file(path, member)
        else:
            self._link(path, member)

    # ------------------------------------------------------------------------------------------ kinds

    def _whiteout(self, path: bytes, base: bytes) -> None:
        """What the layers below have of this name is gone; what this layer itself has of it stays."""
        parent = path[: -len(base)].rstrip(b"/")
        if base == _OPAQUE:
            self._make_parents(path)
            _set_opaque(parent or b".")
            return
        if base.startswith(_LEGACY):
            return
        name = base[len(WHITEOUT) :]
        if name in (b"", b".", b".."):
            raise ValueError(f"a whiteout of nothing: {path!r}")
        target = parent + b"/" + name if parent else name
        self._make_parents(target)
        mode = _mode(target)
        if mode is None:
            archives.whiteout(os.fsdecode(target))
        elif stat.S_ISDIR(mode):
            _set_opaque(target)

    def _directory(self, path: bytes, member: Member) -> None:
        path = path or b"."
        try:
            os.mkdir(path, 0o700)
        except FileExistsError:
            mode = os.lstat(path).st_mode
            if stat.S_ISCHR(mode):
                _replace_whiteout(path)
            elif not stat.S_ISDIR(mode):
                self._make_way(path)
                os.mkdir(path, 0o700)
        except (FileNotFoundError, NotADirectoryError):
            self._make_parents(path)
            os.mkdir(path, 0o700)
        if self._many_ids:
            self._own(path, member)
        os.chmod(path, member.mode)
        self._attributes(path, member)
        self._directories.pop(path, None)
        self._directories[path] = _clamped(member.mtime)

    def _file(self, path: bytes, member: Member) -> None:
        try:
            file = os.open(path, _CREATE, 0o600)
        except (FileNotFoundError, NotADirectoryError):
            self._make_parents(path)
            file = os.open(path, _CREATE, 0o600)
        except FileExistsError:
            self._make_way(path)
            file = os.open(path, _CREATE, 0o600)
        try:
            if member.size:
                self._fill(file, member)
            elif member.length:
                os.ftruncate(file, member.length)
            if self._many_ids:
                self._own(file, member)
            os.fchmod(file, member.mode)  # after the owner, which takes the set-user-id bit away
            if member.attributes:
                self._attributes(file, member)
            mtime = _clamped(member.mtime)
            os.utime(file, ns=(mtime, mtime))
        finally:
            os.close(file)

    def _link(self, path: bytes, member: Member) -> None:
        for attempt in (self._make_parents, self._make_way, None):
            try:
                self._make_link(path, member)
                break
            except (FileNotFoundError, NotADirectoryError, FileExistsError):
                if attempt is None:
                    raise
                attempt(path)
        if member.kind == "link":
            return
        if self._many_ids:
            self._own(path, member)
        if member.kind == "fifo":
            os.chmod(path, member.mode)
        mtime = _clamped(member.mtime)
        os.utime(path, ns=(mtime, mtime), follow_symlinks=False)

    def _make_link(self, path: bytes, member: Member) -> None:
        if member.kind == "symlink":
            os.symlink(member.link, path)
        elif member.kind == "fifo":
            os.mkfifo(path, 0o600)
        else:
            os.link(_inside(member.link), path, follow_symlinks=False)

    # ------------------------------------------------------------------------------------------ parts

    def _fill(self, file: int, member: Member) -> None:
        for offset, count in member.sparse or [(0, member.size)]:
            at = offset
            for piece in self._stream.content(count):
                self._write(file, at, piece)
                at += len(piece)
                if self._written >= self._look_at:
                    self._look_at = self._written + _LOOK_EVERY
                    self._refuse_full_disk()
        if os.fstat(file).st_size < member.length:
            os.ftruncate(file, member.length)

    def _write(self, file: int, at: int, piece: memoryview) -> None:
        """Write, but for long runs of zeros: a hole reads the same."""
        if len(piece) < _HOLE:
            self._put(file, at, piece)
            return
        begun = 0
        for start in range(0, len(piece), _HOLE):
            block = piece[start : start + _HOLE]
            if block[0] == 0 and bytes(block) == _ZEROS:
                self._put(file, at + begun, piece[begun:start])
                begun = start + _HOLE
        self._put(file, at + begun, piece[begun:])

    def _put(self, file: int, at: int, piece: memoryview) -> None:
        self._written += len(piece)
        while piece:
            done = os.pwrite(file, piece, at)
            at, piece = at + done, piece[done:]

    def _own(self, target: bytes | int, member: Member) -> None:
        uid, gid = member.uid, member.gid  # root's too: a directory may pass its group on
        try:
            if not (0 <= uid < _BEYOND and 0 <= gid < _BEYOND):
                raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
            os.chown(target, uid, gid, follow_symlinks=isinstance(target, int))
        except OSError as error:
            if error.errno != errno.EINVAL:
                raise
            self._told["foreign"] += 1

    def _attributes(self, target: bytes | int, member: Member) -> None:
        for name, value in member.attributes.items():
            if name.startswith(_OVERLAYS):
                continue
            try:
                os.setxattr(target, name, value)
            except OSError as error:  # engines leave out what a file system or an id map cannot hold, too
                if error.errno not in _REFUSED_ATTRIBUTE:
                    raise

    def _make_way(self, path: bytes) -> None:
        """Whatever this layer had of this name before."""
        if stat.S_ISDIR(os.lstat(path).st_mode):
            archives.remove(os.fsdecode(path))
        else:
            os.unlink(path)

    def _make_parents(self, path: bytes) -> None:
        """Directories the archive names no member for, or not yet."""
        at = path.find(b"/")
        while at > 0:
            try:
                os.mkdir(path[:at], 0o755)
            except FileExistsError:
                if stat.S_ISCHR(os.lstat(path[:at]).st_mode):
                    _replace_whiteout(path[:at])
            at = path.find(b"/", at + 1)


def _inside(name: bytes) -> bytes:
    """A member's name relative to the root, without what changes nothing; b"" for the root itself."""
    if b"\0" in name:
        raise ValueError(f"an archive member's name holds a NUL byte: {name!r}")
    parts: list[bytes] = []
    for part in name.split(b"/"):
        if part == b"..":
            if not parts:
                raise ValueError(f"an archive member leaves its directory: {name!r}")
            parts.pop()
        elif part not in (b"", b"."):
            parts.append(part)
    return b"/".join(parts)


def _mode(path: bytes) -> int | None:
    try:
        return os.lstat(path).st_mode
    except FileNotFoundError:
        return None


def _set_opaque(path: bytes) -> None:
    os.setxattr(path, b"user.overlay.opaque", b"y", follow_symlinks=False)


def _replace_whiteout(path: bytes) -> None:
    """A directory of this layer in place of whatever the layers below have there."""
    os.unlink(path)
    os.mkdir(path, 0o755)
    _set_opaque(path)


def _clamped(nanoseconds: int) -> int:
    return max(-_LATEST, min(nanoseconds, _LATEST))
