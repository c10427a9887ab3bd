"""The system calls Python has no name for: namespaces, mounts, capabilities. Thin, and raising OSError.

Called with the interpreter lock held (PyDLL): after a raw ``clone`` the child is the only thread there is.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import struct

CLONE_NEWNS = 0x00020000
CLONE_NEWCGROUP = 0x02000000
CLONE_NEWUTS = 0x04000000
CLONE_NEWIPC = 0x08000000
CLONE_NEWUSER = 0x10000000
CLONE_NEWPID = 0x20000000
CLONE_NEWNET = 0x40000000
ALL_NAMESPACES = (
    CLONE_NEWNS | CLONE_NEWCGROUP | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWUSER | CLONE_NEWPID | CLONE_NEWNET
)

MS_RDONLY = 1
MS_NOSUID = 2
MS_NODEV = 4
MS_NOEXEC = 8
MS_REMOUNT = 32
MS_BIND = 4096
MS_REC = 16384
MS_PRIVATE = 1 << 18
MNT_DETACH = 2

PR_SET_DUMPABLE = 4
PR_SET_SECCOMP = 22
PR_CAPBSET_DROP = 24
PR_SET_CHILD_SUBREAPER = 36
PR_SET_NO_NEW_PRIVS = 38

_NUMBERS = {
    "x86_64": {"clone": 56, "pivot_root": 155, "prlimit64": 302},
    "aarch64": {"clone": 220, "pivot_root": 41, "prlimit64": 261},
}
MACHINE = os.uname().machine
SUPPORTED = MACHINE in _NUMBERS
_SIGCHLD = 17

_libc = ctypes.PyDLL(None, use_errno=True)


def _check(result: int, what: str) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")
    return result


def syscall(name: str, *arguments: object) -> int:
    """One system call by name."""
    return _check(_libc.syscall(ctypes.c_long(_NUMBERS[MACHINE][name]), *arguments), name)


def clone(namespaces: int) -> int:
    """Fork into new namespaces: 0 in the child. For single-threaded processes only."""
    zero = ctypes.c_ulong(0)
    return syscall("clone", ctypes.c_ulong(namespaces | _SIGCHLD), zero, zero, zero, zero)


def unshare(namespaces: int) -> None:
    """Enter new namespaces."""
    _check(_libc.unshare(ctypes.c_int(namespaces)), "unshare")


def mount(source: str, target: str, kind: str | None = None, flags: int = 0, options: str = "") -> None:
    """mount(2); paths may be relative."""
    _check(
        _libc.mount(
            os.fsencode(source),
            os.fsencode(target),
            kind.encode() if kind else None,
            ctypes.c_ulong(flags),
            os.fsencode(options) if options else None,
        ),
        f"mount {kind or 'bind'} on {target}",
    )


def unmount(target: str, flags: int = 0) -> None:
    """umount2(2)."""
    _check(_libc.umount2(os.fsencode(target), flags), f"unmount {target}")


def pivot_root(new: str, old: str) -> None:
    """pivot_root(2)."""
    syscall("pivot_root", os.fsencode(new), os.fsencode(old))


def prctl(option: int, argument: int = 0) -> None:
    """prctl(2) with one number."""
    zero = ctypes.c_ulong(0)
    _check(_libc.prctl(option, ctypes.c_ulong(argument), zero, zero, zero), f"prctl {option}")


def set_hostname(name: str) -> None:
    """sethostname(2)."""
    encoded = name.encode()
    _check(_libc.sethostname(encoded, len(encoded)), "sethostname")


def install_filter(program: bytes) -> None:
    """Install a seccomp program for this process and all it will ever start."""

    class Program(ctypes.Structure):
        _fields_ = [("length", ctypes.c_ushort), ("instructions", ctypes.c_void_p)]

    buffer = ctypes.create_string_buffer(program, len(program))
    header = Program(len(program) // 8, ctypes.cast(buffer, ctypes.c_void_p))
    mode_filter, zero = ctypes.c_ulong(2), ctypes.c_ulong(0)
    _check(_libc.prctl(PR_SET_SECCOMP, mode_filter, ctypes.byref(header), zero, zero), "seccomp")


def keep_capabilities(kept: frozenset[int]) -> None:
    """Drop every capability but these, from the bounding set too."""
    for capability in range(64):
        if capability not in kept:
            with contextlib.suppress(OSError):  # beyond the last one this kernel knows
                prctl(PR_CAPBSET_DROP, capability)
    mask = sum(1 << capability for capability in kept)
    low, high = mask & 0xFFFFFFFF, mask >> 32
    header = struct.pack("<Ii", 0x20080522, 0)
    sets = struct.pack("<6I", low, low, 0, high, high, 0)
    _check(_libc.capset(header, sets), "capset")


def write_file(path: str, text: str) -> None:
    """Write to a /proc file in one call, so that the kernel's refusal is heard."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(descriptor, text.encode())
    finally:
        os.close(descriptor)
