"""How fast sandboxes may be created: one allowance for all processes of a user, kept in a file.

Modal allows a workspace so many creations a second and refuses the rest. The file holds one number, the moment from
which on the allowance is unspent; whoever wants to create moves it on by one creation's worth and waits for his turn
without holding anything, so turns are in the order of asking and a dead process blocks nobody.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import struct
import time
from collections.abc import Callable, Iterator
from pathlib import Path

_BURST = 1.0
"""Seconds' worth of allowance that may be saved up."""
_ABSURD = 24 * 3600.0
"""A file that speaks of a turn as far off as that is of a clock that was wrong."""
_MOMENT = struct.Struct("<d")


class Limiter:
    """The allowance in one file."""

    def __init__(
        self,
        path: Path,
        per_second: float,
        *,
        clock: Callable[[], float] = time.time,
        wait: Callable[[float], object] = time.sleep,
    ) -> None:
        """`per_second`: 0 for no limit."""
        self._path = path
        self._per_second = per_second
        self._clock = clock
        self._wait = wait

    def reserve(self) -> float:
        """Take the next turn; returns how many seconds off it is."""
        if not self._per_second:
            return 0.0
        with self._locked() as descriptor:
            now = self._clock()
            spent = os.pread(descriptor, _MOMENT.size, 0)
            begun = _MOMENT.unpack(spent)[0] if len(spent) == _MOMENT.size else 0.0
            if not begun < now + _ABSURD:  # also of what is no number
                begun = now
            turn = max(begun, now - _BURST)
            os.pwrite(descriptor, _MOMENT.pack(turn + 1 / self._per_second), 0)
        return max(0.0, turn - now)

    def take(self, told: Callable[[float], object]) -> None:
        """Wait for one's turn; `told` is called with the seconds before a wait begins."""
        seconds = self.reserve()
        if seconds:
            told(seconds)
            self._wait(seconds)

    @contextlib.contextmanager
    def _locked(self) -> Iterator[int]:
        self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield descriptor
        finally:
            os.close(descriptor)
