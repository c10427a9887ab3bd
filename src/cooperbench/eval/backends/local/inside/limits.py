"""The last steps before code runs in a sandbox: resource limits set, filter installed, privileges dropped."""

from __future__ import annotations

import contextlib
import os
import resource
from typing import Any

from . import kernel, seccomp

# CHOWN DAC_OVERRIDE FOWNER FSETID KILL SETGID SETUID SETPCAP NET_BIND_SERVICE SYS_CHROOT AUDIT_WRITE SETFCAP:
# what container engines leave, without NET_RAW and MKNOD.
KEPT_CAPABILITIES = frozenset({0, 1, 3, 4, 5, 6, 7, 8, 10, 18, 29, 31})
_RESOURCES = {
    "file_size": resource.RLIMIT_FSIZE,
    "open_files": resource.RLIMIT_NOFILE,
    "address_space": resource.RLIMIT_AS,
}


def first_to_die() -> None:
    """When the host runs out of memory, sandboxes go first."""
    with contextlib.suppress(OSError):
        kernel.write_file("/proc/self/oom_score_adj", "900")


def confine(spec: dict[str, Any], secret: int) -> None:
    """Give up everything a sandbox is not meant to have; inherited by all it runs, and not to be undone."""
    kernel.prctl(kernel.PR_SET_DUMPABLE, 0)  # no /proc/1/{exe,mem,fd,environ} and no ptrace for code inside
    _set_limits(spec["limits"])
    if spec["many_ids"]:  # set-user-id programs work: the filter goes in by privilege, not by no_new_privs
        if seccomp_available():
            kernel.install_filter(seccomp.program(secret=secret))
        kernel.keep_capabilities(KEPT_CAPABILITIES)
        return
    kernel.keep_capabilities(KEPT_CAPABILITIES)
    kernel.prctl(kernel.PR_SET_NO_NEW_PRIVS, 1)
    if seccomp_available():
        kernel.install_filter(seccomp.program(pretend_root=True, secret=secret))


def seccomp_available() -> bool:
    """Whether this machine's system call table is known here."""
    return kernel.MACHINE in seccomp.DENIED


def _set_limits(limits: dict[str, int | None]) -> None:
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    for name, number in _RESOURCES.items():
        wanted = limits.get(name)
        if wanted is not None:
            _, hard = resource.getrlimit(number)
            allowed = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
            resource.setrlimit(number, (allowed, allowed))


def forget_descriptors(kept: set[int]) -> None:
    """Close every descriptor but these, and point the standard three at /dev/null."""
    highest = 3
    for number in sorted(kept):
        os.closerange(highest, number)
        highest = number + 1
    os.closerange(highest, 4096)
    null = os.open("/dev/null", os.O_RDWR)
    for number in (0, 1, 2):
        os.dup2(null, number, inheritable=True)
    if null > 2:
        os.close(null)
