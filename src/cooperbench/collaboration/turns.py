"""When an operation on the bus takes effect: each in its turn, at a moment of the harness's clock."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

Pause = Callable[[], float]
"""Seconds an operation would wait before it looks anew; 0 when it need not wait any more."""


class Turns:
    """As they come. Another order (a recorded one) is a class with the same two methods."""

    def __init__(self, clock: Callable[[], float] | None = None) -> None:
        """Args:
        clock: seconds since the epoch; by default a clock that never goes back.
        """
        self._clock = clock or _steady_clock()
        self._last = 0.0

    def begin(self, changed: threading.Condition, agent: str, verb: str, pause: Pause) -> float:
        """Wait until it is this operation's turn; the moment at which it takes effect, later than all before.

        Called under the lock of `changed`, which is let go of while waiting. Everything that happens on a bus
        comes through here, once, in the order in which it takes effect: also what finds nothing and what is refused.
        """
        del agent, verb
        while (seconds := pause()) > 0:
            changed.wait(seconds)
        self._last = max(self._clock(), self._last + 1e-6)
        return self._last

    def end(self, changed: threading.Condition) -> None:
        """The operation has taken effect."""
        changed.notify_all()


def _steady_clock() -> Callable[[], float]:
    """Seconds since the epoch that never go back, whatever happens to the host's clock."""
    offset = time.time() - time.monotonic()
    return lambda: offset + time.monotonic()
