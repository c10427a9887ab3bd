"""The order of what happens on a trial's bus, recorded and repeated.

Model calls need no such thing: each agent's are its own. What agents read from each other depends on who was first;
so a replay lets every operation on the bus take effect in its recorded place and at its recorded moment.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from cooperbench.collaboration.turns import Pause, Turns

PATIENCE = 60.0
"""Seconds to wait for a teammate's turn: after that the replay has taken another course, and its order is nothing."""

_log = logging.getLogger(__name__)


class RecordingTurns(Turns):
    """As they come, and written down."""

    def __init__(self, keep: Callable[[Mapping[str, Any]], None]) -> None:
        super().__init__()
        self._keep = keep

    def begin(self, changed: threading.Condition, agent: str, verb: str, pause: Pause) -> float:
        """As `Turns.begin`."""
        moment = super().begin(changed, agent, verb, pause)
        self._keep({"agent": agent, "verb": verb, "at": moment})
        return moment


class RecordedTurns(Turns):
    """As they were recorded; as they come once the recording is over or nothing fits it any more."""

    def __init__(self, turns: Iterable[Mapping[str, Any]], patience: float = PATIENCE) -> None:
        super().__init__()
        self._left = deque(turn for turn in turns if isinstance(turn.get("at"), float))
        self._patience = patience

    def begin(self, changed: threading.Condition, agent: str, verb: str, pause: Pause) -> float:
        """As `Turns.begin`, but for when: `pause` was asked when it was recorded."""
        awaited: Mapping[str, Any] | None = None
        deadline = 0.0
        while self._left:
            first = self._left[0]
            if first is not awaited:  # its turn may take as long as it took, and some patience
                awaited = first
                deadline = (
                    time.monotonic() + self._patience + max(0.0, first["at"] - (self._last or first["at"]))
                )
            if (first.get("agent"), first.get("verb")) == (agent, verb):
                self._last = float(self._left.popleft()["at"])
                return self._last
            if not changed.wait(max(0.0, deadline - time.monotonic())) and time.monotonic() >= deadline:
                _log.warning(
                    "replay: %s of %s did not come; the order is free from here",
                    first.get("verb"),
                    first.get("agent"),
                )
                self._left.clear()
                changed.notify_all()
        return super().begin(changed, agent, verb, pause)
