"""Whose a container is, as a label says it: so that what a dead harness left is told from what a live one owns."""

from __future__ import annotations

import functools
import os
import time
from collections.abc import Mapping
from pathlib import Path

PREFIX = "io.cooperbench."
PRODUCT = PREFIX + "product"
OWNER = PREFIX + "owner"
EXPIRY = PREFIX + "expiry"

_GRACE = 600
"""Seconds past its expiry after which a container of a harness on another machine is taken for left behind."""


def labels(given: Mapping[str, str], lifetime: float) -> dict[str, str]:
    """The labels of a new container."""
    return {
        **{PREFIX + name: value for name, value in given.items()},
        PRODUCT: "cooperbench",
        OWNER: f"{_machine()} {os.getpid()} {_started(os.getpid())}",
        EXPIRY: str(int(time.time() + lifetime)),
    }


def left_behind(found: Mapping[str, str]) -> bool:
    """Whether nobody alive owns a container with these labels.

    A process of this machine is looked at. Of another machine's nothing is known but the expiry.
    """
    if found.get(PRODUCT) != "cooperbench":
        return False
    machine, _, process = found.get(OWNER, "").partition(" ")
    if machine == _machine():
        pid, _, started = process.partition(" ")
        return not pid.isdecimal() or not started or _started(int(pid)) != started
    expiry = found.get(EXPIRY, "")
    return not expiry.isdecimal() or time.time() > int(expiry) + _GRACE


@functools.cache
def _machine() -> str:
    """This boot of this machine, and this process id namespace: where a process id means one process."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        return f"{boot}/{os.stat('/proc/self/ns/pid').st_ino}"
    except OSError:  # no Linux: process ids are all there is
        return os.uname().nodename.replace(" ", "-")


def _started(pid: int) -> str:
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
