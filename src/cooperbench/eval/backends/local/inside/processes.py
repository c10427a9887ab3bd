"""The processes of a sandbox as PID 1 sees them: whose they are, how much they hold, and how to end a tree for good.

Every command gets a tag: its hard RLIMIT_LOCKS, a limit Linux has ignored since 2.4.25. Each tag is lower than the
last, all descendants inherit it, nobody can raise it, the seccomp filter keeps code inside from setting it at all, and
``/proc/PID/limits`` shows it. So a time-out finds every process of its command, daemons and orphans included, without
a control group and without a monitor process.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import resource
import signal
import struct
import time

from . import kernel
from .seccomp import TAG_RESOURCE

_HIGHEST = 1 << 60
_PAGE = os.sysconf("SC_PAGESIZE")
_PATIENCE = 5.0


class Tags:
    """Hands out tags, and knows those whose commands have not been timed out."""

    def __init__(self, secret: int) -> None:
        self._secret = secret
        _, hard = resource.getrlimit(TAG_RESOURCE)
        self._last = _HIGHEST if hard == resource.RLIM_INFINITY else min(hard, _HIGHEST)
        self.live: set[int] = set()

    def next(self) -> int:
        """A new tag, worn by this process and so by the child it starts next. Not to be guessed."""
        self._last -= 1 + int.from_bytes(os.urandom(4), "little")
        new = struct.pack("<QQ", self._last, self._last)
        nothing = ctypes.c_void_p(None)
        # glibc's setrlimit has no room for the secret the filter asks for
        kernel.syscall(
            "prlimit64",
            ctypes.c_long(0),
            ctypes.c_long(TAG_RESOURCE),
            new,
            nothing,
            nothing,
            ctypes.c_ulong(self._secret),
        )
        self.live.add(self._last)
        return self._last


def others() -> list[int]:
    """Every process here but PID 1."""
    return [int(name) for name in os.listdir("/proc") if name.isdigit() and name != "1"]


def end_tree(tags: Tags, tag: int) -> None:
    """Kill every process that wears this tag (or none that is live); the others do not notice."""
    tags.live.discard(tag)
    sign = signal.SIGSTOP  # first all stand still, so that nobody forks away from the blow
    until = time.monotonic() + _PATIENCE
    while time.monotonic() < until:
        victims = [pid for pid in others() if _wears_none_of(pid, tags.live) and not _dead(pid)]
        if not victims:
            return
        for pid in victims:
            with contextlib.suppress(OSError):
                os.kill(pid, sign)
        if sign == signal.SIGKILL:
            time.sleep(0.001)
        sign = signal.SIGKILL
    end_all()


def end_all() -> None:
    """Kill everything but PID 1."""
    with contextlib.suppress(OSError):
        os.kill(-1, signal.SIGKILL)


def _wears_none_of(pid: int, live: set[int]) -> bool:
    try:
        text = _read(f"/proc/{pid}/limits")
        start = text.index(b"Max file locks")
        return int(text[start : text.index(b"\n", start)].split()[-2]) not in live
    except (OSError, ValueError):  # gone, or not ours to read: nothing of a command's
        return False


def _dead(pid: int) -> bool:
    try:
        return _read(f"/proc/{pid}/stat").rpartition(b")")[2].split()[0] in b"ZX"
    except (OSError, IndexError):
        return True


def memory() -> tuple[int, int, int]:
    """Bytes of memory held by all, the pid that holds most, and how many processes were counted.

    Private pages are summed; shared ones (libraries, mapped files) are left out, except that the largest holder of
    shared memory objects counts once: they have no owner to charge.
    """
    total, largest, culprit, shared, count = 0, 0, 0, 0, 0
    for pid in others():
        try:
            fields = _read(f"/proc/{pid}/statm").split()
            private = (int(fields[1]) - int(fields[2])) * _PAGE
            common = int(fields[2]) * _PAGE
        except (OSError, ValueError, IndexError):
            continue
        count += 1
        total += private
        if common > _WORTH_A_LOOK:
            common = _shared_memory(pid)
            shared = max(shared, common)
            private += common
        if private >= largest:
            largest, culprit = private, pid
    return total + shared, culprit, count


_WORTH_A_LOOK = 64 << 20


def _shared_memory(pid: int) -> int:
    try:
        text = _read(f"/proc/{pid}/status")
        start = text.index(b"RssShmem:")
        return int(text[start : text.index(b"\n", start)].split()[1]) * 1024
    except (OSError, ValueError, IndexError):
        return 0


def _read(path: str) -> bytes:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return os.read(descriptor, 8192)
    finally:
        os.close(descriptor)
