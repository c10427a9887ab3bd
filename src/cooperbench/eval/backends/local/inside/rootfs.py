"""What a sandbox sees as its file system: overlays over read-only layers, /proc, /dev, /sys, and nothing else.

Runs as PID 1 of fresh namespaces, with the zygote's working directory: the state directory, so that layers are named
by short relative paths and no directory above it need be open to us. Nothing here is seen by the host: the mounts
live in this process's own mount namespace and vanish with it.
"""

from __future__ import annotations

import contextlib
import os
import stat
from typing import Any

from . import kernel
from .kernel import MS_BIND, MS_NODEV, MS_NOEXEC, MS_NOSUID, MS_RDONLY, MS_REC, MS_REMOUNT

SCRATCH = "mnt"
_ROOT = f"{SCRATCH}/root"
_QUIET = MS_NOSUID | MS_NODEV | MS_NOEXEC
_DEVICES = ("null", "zero", "full", "random", "urandom", "tty")
_LINKS = {
    "fd": "/proc/self/fd",
    "stdin": "/proc/self/fd/0",
    "stdout": "/proc/self/fd/1",
    "stderr": "/proc/self/fd/2",
    "ptmx": "pts/ptmx",
}
_HIDDEN_FILES = (
    "kcore",
    "keys",
    "timer_list",
    "sysrq-trigger",
    "latency_stats",
    "kallsyms",
    "kmsg",
    "sched_debug",
)
_HIDDEN_DIRECTORIES = ("proc/scsi", "proc/acpi", "sys/firmware", "sys/kernel", "sys/fs", "sys/module")
_LONGEST_LOWERS = 3500
"""Bytes of the names of an overlay's layers; all its options have to fit into 4096."""
_FLAGS_KEPT = {os.ST_NOSUID: MS_NOSUID, os.ST_NODEV: MS_NODEV, os.ST_NOEXEC: MS_NOEXEC}


def enter(spec: dict[str, Any]) -> list[int]:
    """Build the tree `spec` asks for and make it the root; the host's is out of reach afterwards.

    Returns:
        nothing, unless what is written will be asked for: then descriptors of the directory it is written to, and
        of the state directory.
    """
    kernel.mount("none", "/", None, MS_REC | kernel.MS_PRIVATE)
    _scratch(spec)
    _overlay(_ROOT, spec["layers"], "root", spec)
    for place in spec["host"]:
        if place["overlay"]:
            upper = place["at"].replace("/", "-")
            _overlay(
                f"{_ROOT}/{place['at']}", [*_parts(spec["layers"], place["at"]), place["path"]], upper, spec
            )
        else:
            _bind_read_only(place["path"], f"{_ROOT}/{place['at']}")
    for bind in spec["binds"]:
        source = f"{spec['upper'] or SCRATCH}/{bind['name']}"
        os.mkdir(source)
        os.chmod(source, bind["mode"])
        kernel.mount(source, _mount_point(bind["at"]), None, MS_BIND)
    _proc_and_sys(spec)
    _dev(spec)
    kept = [os.open(path, os.O_RDONLY | os.O_DIRECTORY) for path in (SCRATCH, ".")] if spec["export"] else []
    os.chdir(_ROOT)
    kernel.pivot_root(".", ".")
    kernel.unmount(".", kernel.MNT_DETACH)
    os.chdir("/")
    _finish(spec)
    return kept


def _scratch(spec: dict[str, Any]) -> None:
    kernel.mount("scratch", SCRATCH, "tmpfs", MS_NOSUID | MS_NODEV, f"mode=700,size={spec['memory_disk']}")
    os.mkdir(_ROOT)


def _parts(layers: list[str], place: str) -> list[str]:
    return [part for layer in layers if os.path.isdir(part := f"{layer}/{place}")]


def _overlay(target: str, lowers: list[str], name: str, spec: dict[str, Any]) -> None:
    """Writes go to `<upper>/<name>`; `<upper>` is on the scratch tmpfs or the state directory's disk.

    `volatile`: nothing a sandbox writes has to survive a power cut, so its fsync costs nothing, and so does its end.
    """
    base = spec["upper"] or SCRATCH
    upper, work = f"{base}/{name}.upper", f"{base}/{name}.work"
    os.mkdir(upper, 0o755)
    os.mkdir(work, 0o700)
    many = sum(map(len, lowers)) + len(lowers) > _LONGEST_LOWERS
    named = [_nameable(lower, f"{SCRATCH}/{name}.{index}", many) for index, lower in enumerate(lowers)]
    options = (
        f"lowerdir={':'.join(named)},upperdir={upper},workdir={work},userxattr,index=off,xino=off,volatile"
    )
    kernel.mount("overlay", target, "overlay", 0, options)
    if name == "root":
        os.chmod(target, 0o755)


def _nameable(lower: str, link: str, short: bool) -> str:
    """Overlay options give ``:``, ``,`` and ``\\`` a meaning, and are at most a page: another name, a short one."""
    if not short and not set(lower) & set(":,\\"):
        return lower
    os.symlink(lower if lower.startswith("/") else f"../{lower}", link)
    return link


def _bind_read_only(source: str, target: str) -> None:
    kernel.mount(source, target, None, MS_BIND | MS_REC)
    flags = os.statvfs(target).f_flag
    kept = sum(ours for theirs, ours in _FLAGS_KEPT.items() if flags & theirs)
    kernel.mount("none", target, None, MS_BIND | MS_REMOUNT | MS_RDONLY | kept)


def _mount_point(place: str) -> str:
    """A real directory of the new root; an image's symbolic link must not lead a mount elsewhere."""
    path = f"{_ROOT}/{place}"
    try:
        mode = os.lstat(path).st_mode
    except FileNotFoundError:
        os.mkdir(path, 0o755)
        return path
    if not stat.S_ISDIR(mode):
        os.unlink(path)
        os.mkdir(path, 0o755)
    return path


def _proc_and_sys(spec: dict[str, Any]) -> None:
    proc = _mount_point("proc")
    kernel.mount("proc", proc, "proc", _QUIET)
    sys = _mount_point("sys")
    if spec["network"]["mode"] != "host":  # only the owner of the network namespace may
        with contextlib.suppress(PermissionError):
            kernel.mount("sysfs", sys, "sysfs", MS_RDONLY | _QUIET)
    for name in _HIDDEN_FILES:
        if os.path.exists(f"{proc}/{name}"):
            kernel.mount("/dev/null", f"{proc}/{name}", None, MS_BIND)
    for name in _HIDDEN_DIRECTORIES:
        if os.path.isdir(f"{_ROOT}/{name}"):
            kernel.mount("tmpfs", f"{_ROOT}/{name}", "tmpfs", MS_RDONLY | _QUIET, "size=0,nr_inodes=1")


def _dev(spec: dict[str, Any]) -> None:
    dev = _mount_point("dev")
    kernel.mount("tmpfs", dev, "tmpfs", MS_NOSUID, "mode=755,size=64k")
    for name in _DEVICES:
        os.close(os.open(f"{dev}/{name}", os.O_CREAT | os.O_WRONLY | os.O_CLOEXEC, 0o666))
        kernel.mount(f"/dev/{name}", f"{dev}/{name}", None, MS_BIND)
    for name, target in _LINKS.items():
        os.symlink(target, f"{dev}/{name}")
    os.mkdir(f"{dev}/pts")
    os.mkdir(f"{dev}/shm", 0o1777)
    group = ",gid=5" if spec["many_ids"] else ""
    with contextlib.suppress(OSError):  # no pseudo terminals is bearable
        kernel.mount(
            "devpts",
            f"{dev}/pts",
            "devpts",
            MS_NOSUID | MS_NOEXEC,
            f"newinstance,ptmxmode=0666,mode=620{group}",
        )
    kernel.mount(
        "tmpfs", f"{dev}/shm", "tmpfs", MS_NOSUID | MS_NODEV, f"mode=1777,size={spec['shared_memory']}"
    )


def _finish(spec: dict[str, Any]) -> None:
    """What is done after the turn, so that every link resolves inside."""
    os.umask(0o022)
    for path in ("/tmp", "/run", spec["workdir"]):
        os.makedirs(path, exist_ok=True)
    for path, text in spec["files"].items():
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)
