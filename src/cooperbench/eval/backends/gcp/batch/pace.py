"""How often to look at a batch: soon at first, seldom where nothing can be new, in time at its end.

Results are looked for at least once a minute. The job itself is asked about until it runs, and then only where results
have been missing for longer than they used to: a batch that takes a hundred times as long costs a few questions more.
Nothing here knows the clock: `now` is any clock's seconds.
"""

from __future__ import annotations

_SOON, _LATE, _GROWTH = 1.0, 60.0, 1.5
"""Seconds between looks: the first, the longest, and by what they grow."""
_NEAR = 2.0
"""Seconds between looks when the end is near, at least."""
_PATIENCE, _MOST_PATIENCE, _MORE = 5.0, 300.0, 3.0
"""Seconds without a result after which a job that runs is asked about: the first time, later on, and the growth."""


class Pace:
    """Of one batch."""

    def __init__(self, now: float) -> None:
        self._pause = _SOON
        self._patience = _PATIENCE
        self._running: float | None = None
        """Since when the job is known to run."""
        self._heard = self._asked = now
        self._gap = 0.0
        """The longest time between two results so far."""

    @property
    def has_begun(self) -> bool:
        """Whether the job is known to have run, so that there may be results."""
        return self._running is not None

    def heard(self, now: float) -> None:
        """There was something new."""
        self._gap = max(self._gap, now - self._heard)
        self._heard = now

    def wants_to_ask(self, now: float) -> bool:
        """Whether the job itself is to be asked about."""
        if self._running is None:
            return True
        usual = 2 * self._gap if self._patience >= _MOST_PATIENCE else 0.0
        before = self._asked - self._heard  # in this silence: a question more each time it is twice as long
        return now - max(self._heard, self._asked) >= max(self._patience, usual, before)

    def asked(self, now: float, *, runs: bool) -> None:
        """It was."""
        if runs and self._running is None:
            self._running = self._heard = now
        elif runs:
            self._patience = min(self._patience * _MORE, _MOST_PATIENCE)
        self._asked = now

    def pause(self, now: float, done: int, left: int) -> float:
        """Seconds until the next look, with so many results there and so many to come."""
        self._pause = min(self._pause * _GROWTH, _LATE)
        if self._running is None or not done:
            return self._pause
        remaining = (now - self._running) * left / done
        return min(self._pause, max(_NEAR, remaining / 2, (now - self._heard) / 4))
