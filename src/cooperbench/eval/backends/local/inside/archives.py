"""Files in and out of a sandbox, and the zygote's work on whole trees. Always in a forked child: it may take a while
(`quick` has what does not).

Inside a sandbox every path resolves below the sandbox's own root, so nothing here has to defend the host; the checks
below keep an archive from surprising the sandbox itself, and a hostile directory from stalling or flooding us.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import stat
import tarfile
from collections.abc import Iterator
from typing import BinaryIO


def unpack(archive: int, directory: str, *, owners: bool = False) -> int:
    """Unpack the tar in the descriptor below `directory`; returns the number of members.

    Args:
        owners: give files the owners the archive names; otherwise they are root's.
    """
    os.makedirs(directory, exist_ok=True)
    count = 0
    directories = []
    os.lseek(archive, 0, os.SEEK_SET)
    with os.fdopen(os.dup(archive), "rb") as file, tarfile.open(fileobj=file, mode="r:") as tar:
        for member in tar:
            target = inside(directory, member.name)
            if target is None:
                continue
            _place(target, member, directory, archive)
            if owners:
                os.lchown(target, member.uid, member.gid)
            if member.isdir():
                directories.append((target, member.mode))
            elif not (member.issym() or member.islnk()):
                os.chmod(target, member.mode & 0o7777)
            count += 1
    for target, mode in reversed(directories):  # last, or a read-only one would refuse its own files
        os.chmod(target, mode & 0o7777)
    return count


def inside(directory: str, name: str) -> str | None:
    """Where the member of that name belongs; None for `directory` itself.

    Raises:
        ValueError: outside.
    """
    parts = [part for part in name.split("/") if part not in ("", ".")]
    if ".." in parts:
        raise ValueError(f"archive member leaves its directory: {name!r}")
    return os.path.join(directory, *parts) if parts else None


def _place(target: str, member: tarfile.TarInfo, directory: str, archive: int) -> None:
    parent = os.path.dirname(target)
    if not os.path.isdir(parent):
        os.makedirs(parent)
    if member.isdir():
        if os.path.islink(target) or not os.path.isdir(target):
            _clear(target)
            os.mkdir(target)
        return
    _clear(target)
    if member.isreg():
        _write(target, archive, member.offset_data, member.size)
    elif member.issym():
        os.symlink(member.linkname, target)
    elif member.islnk():
        source = inside(directory, member.linkname)
        os.link(source or directory, target, follow_symlinks=False)
    elif member.isfifo():
        os.mkfifo(target)
    else:
        raise ValueError(f"archive member is not a file, directory or link: {member.name!r}")


def _clear(target: str) -> None:
    """What stood here makes way; a file is never written through a link that happened to be there."""
    with contextlib.suppress(FileNotFoundError):
        if stat.S_ISDIR(os.lstat(target).st_mode):
            shutil.rmtree(target)
        else:
            os.unlink(target)


def _write(target: str, archive: int, offset: int, size: int) -> None:
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    file = os.open(target, flags, 0o600)
    try:
        end = offset + size
        while offset < end:
            sent = os.sendfile(file, archive, offset, end - offset)
            if sent == 0:
                raise ValueError("archive ends early")
            offset += sent
    finally:
        os.close(file)


def pack(directory: str, limit: int, target: int) -> int:
    """Write the regular files directly in `directory` to the descriptor as a tar; returns how many.

    Raises:
        ValueError: they are more than `limit` bytes together.
    """
    count, left = 0, limit
    with os.fdopen(os.dup(target), "wb") as out, tarfile.open(fileobj=out, mode="w:") as tar:
        for name, file, status in regular_files(directory):
            if status.st_size > left:
                raise ValueError(f"{directory} holds more than {limit} bytes")
            left -= status.st_size
            tar.addfile(described(name, status), Padded(file))
            count += 1
    return count


def described(name: str, status: os.stat_result) -> tarfile.TarInfo:
    """A file's header."""
    member = tarfile.TarInfo(name)
    member.size, member.mode, member.mtime = status.st_size, status.st_mode & 0o7777, int(status.st_mtime)
    return member


def regular_files(directory: str) -> Iterator[tuple[str, BinaryIO, os.stat_result]]:
    """The regular files directly in `directory`, open while it is their turn."""
    base = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        for name in sorted(os.listdir(base)):
            try:  # O_NONBLOCK: a FIFO of that name must not stall us
                flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
                descriptor = os.open(name, flags, dir_fd=base)
            except OSError:
                continue
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode):
                os.close(descriptor)
                continue
            with os.fdopen(descriptor, "rb", buffering=0) as file:
                yield name, file, status
    finally:
        os.close(base)


class Padded:
    """A file that reads as long as it was said to be, though somebody cut it short meanwhile."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file

    def read(self, count: int = -1, /) -> bytes:
        """So many bytes."""
        return (self._file.read(count) or b"").ljust(count, b"\0")


def remove(path: str) -> None:
    """Delete a whole tree, however deep it is; what cannot be deleted stays for the next start.

    A directory found inside is moved beside the tree before it is looked into, so no path grows long.
    """
    beside = f"{os.path.dirname(path) or '.'}/.removed-{os.urandom(8).hex()}"
    pending, count = [path], 0
    while pending:
        directory = pending.pop()
        with contextlib.suppress(OSError):
            if not stat.S_ISDIR(os.lstat(directory).st_mode):
                os.unlink(directory)
                continue
            for name in os.listdir(directory):
                inner = f"{directory}/{name}"
                try:
                    os.unlink(inner)
                except (IsADirectoryError, PermissionError):  # the latter is POSIX's word for a directory
                    count += 1
                    os.rename(inner, f"{beside}-{count}")
                    pending.append(f"{beside}-{count}")
            os.rmdir(directory)


def seal(upper: str, target: str, host_places: list[str], dropped: list[str]) -> int:
    """Make the layer of a finished build: its overlays' upper directories put together under `target`."""
    root = f"{upper}/root.upper"
    for place in host_places:
        part = f"{upper}/{place.replace('/', '-')}.upper"
        if os.path.isdir(part):
            os.makedirs(os.path.dirname(f"{root}/{place}"), exist_ok=True)
            with contextlib.suppress(FileNotFoundError):
                os.rmdir(f"{root}/{place}")
            os.rename(part, f"{root}/{place}")
    for name in dropped:
        _clear(f"{root}/{name}")
    os.rename(root, target)
    return 1


def export(written: int, state: int, target: str) -> int:
    """Copy the overlays' upper directories out of memory, as they are, to `target` below the state directory."""
    source, place = f"/proc/self/fd/{written}", f"/proc/self/fd/{state}/{target}"
    os.mkdir(place)
    copied: dict[int, str] = {}
    for name in os.listdir(source):
        if name.endswith(".upper"):
            _copy(f"{source}/{name}", f"{place}/{name}", copied)
    return len(copied)


def _copy(source: str, target: str, copied: dict[int, str]) -> None:
    """One file, link, directory or overlay whiteout, with owner, mode, time, and the overlay's own marks."""
    status = os.lstat(source)
    if status.st_ino in copied and not stat.S_ISDIR(status.st_mode):
        os.link(copied[status.st_ino], target, follow_symlinks=False)
        return
    copied[status.st_ino] = target
    if stat.S_ISLNK(status.st_mode):
        os.symlink(os.readlink(source), target)
    elif stat.S_ISDIR(status.st_mode):
        os.mkdir(target)
        for name in os.listdir(source):
            _copy(f"{source}/{name}", f"{target}/{name}", copied)
    elif stat.S_ISREG(status.st_mode):
        shutil.copyfile(source, target)
    elif stat.S_ISCHR(status.st_mode):
        whiteout(target)
        return
    else:
        return  # a FIFO or socket of a program that is gone
    os.chown(target, status.st_uid, status.st_gid, follow_symlinks=False)
    if not stat.S_ISLNK(status.st_mode):
        os.chmod(target, stat.S_IMODE(status.st_mode))
        for name in os.listxattr(source):
            if name.startswith("user."):
                os.setxattr(target, name, os.getxattr(source, name))
        os.utime(target, ns=(status.st_atime_ns, status.st_mtime_ns))


def whiteout(target: str) -> None:
    """The overlay's mark for "deleted": a 0:0 device, or where the file system refuses those, its newer form."""
    try:
        os.mknod(target, stat.S_IFCHR, 0)
    except PermissionError:
        os.close(os.open(target, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
        os.setxattr(target, "user.overlay.whiteout", b"y")
        os.setxattr(os.path.dirname(target), "user.overlay.opaque", b"x")
