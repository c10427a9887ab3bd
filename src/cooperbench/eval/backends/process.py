"""Which process a harness is, in words that a label can hold: whether it still lives is asked by whoever finds one.

Only Linux tells when a process was started; elsewhere a process id has to do.
"""

from __future__ import annotations

import functools
import os
from pathlib import Path


@functools.cache
def machine() -> str:
    """This boot of this machine, and this process id namespace: where a process id means one process."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        return f"{boot}/{os.stat('/proc/self/ns/pid').st_ino}"
    except OSError:  # no Linux: process ids are all there is
        return os.uname().nodename.replace(" ", "-")


def started(pid: int) -> str:
    """When a process was started, in whatever the system counts; empty: there is no such process."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return "" if Path("/proc/self").exists() or not _exists(pid) else "unknown"
    state, *rest = stat.rpartition(")")[2].split()
    return "" if state in "ZX" else rest[18]


def _exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
