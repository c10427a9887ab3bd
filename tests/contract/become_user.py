"""Run a program as an ordinary user who exists nowhere but in this program's view of the host; started as root.

``python become_user.py WITH_RANGE HOME PROGRAM...``: in a mount namespace of its own, /etc/passwd knows the user,
/etc/subuid gives him a range or does not, and /dev/net/tun is as open as distributions make it; the host
stays as it is.
"""

from __future__ import annotations

import ctypes
import os
import sys
import tempfile

NAME, UID = "cb-somebody", 54321
_CLONE_NEWNS, _MS_BIND, _MS_PRIVATE_REC = 0x20000, 4096, (1 << 18) | 16384


def main(with_range: str, home: str, *program: str) -> None:
    """Become him and run it."""
    libc = ctypes.CDLL(None, use_errno=True)
    _check(libc.unshare(_CLONE_NEWNS))
    _check(libc.mount(b"none", b"/", None, ctypes.c_ulong(_MS_PRIVATE_REC), None))
    stage = tempfile.mkdtemp(dir=home)
    os.chmod(stage, 0o755)

    def cover(path: str, text: str) -> None:
        with open(stage + path.replace("/", "_"), "w", encoding="utf-8") as file:
            file.write(text)
        os.chmod(file.name, 0o644)
        _check(libc.mount(file.name.encode(), path.encode(), None, ctypes.c_ulong(_MS_BIND), None))

    for path, line in (
        ("/etc/passwd", f"{NAME}:x:{UID}:{UID}::{home}:/bin/sh\n"),
        ("/etc/group", f"{NAME}:x:{UID}:\n"),
    ):
        with open(path, encoding="utf-8") as file:
            cover(path, file.read() + line)
    for path in ("/etc/subuid", "/etc/subgid"):
        if os.path.exists(path):
            cover(path, f"{NAME}:200000:65536\n" if with_range == "yes" else "")
    if os.path.exists("/dev/net/tun"):
        device = stage + "/tun"
        os.mknod(device, 0o20666, os.makedev(10, 200))
        os.chmod(device, 0o666)
        _check(libc.mount(device.encode(), b"/dev/net/tun", None, ctypes.c_ulong(_MS_BIND), None))
    os.setgroups([])
    os.setresgid(UID, UID, UID)
    os.setresuid(UID, UID, UID)
    os.chdir("/")
    os.environ.update(HOME=home, USER=NAME)
    os.execv(program[0], program)


def _check(result: int) -> None:
    if result:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


if __name__ == "__main__":
    main(*sys.argv[1:])
