"""Everything that happens on a trial's bus, in the one order it happened, under the one lock it happens under."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from cooperbench.collaboration.turns import Pause, Turns
from cooperbench.errors import UsageError

TEXT_LIMIT = 64 * 1024
"""Bytes (UTF-8) one text may have: a message, a note, a task's title or a remark."""

BUDGET = 16 * 1024 * 1024
"""Bytes of text one agent may leave in a trial: an agent in a loop must not eat the harness's memory."""

_OVERHEAD = 256
"""What a text costs beside its bytes, so that empty ones are not free."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One thing an agent did."""

    number: int
    """Its place in the trial's one order, from 1."""
    at: float
    """Seconds since the epoch; what happens later has a later one, but for the copies of a broadcast."""
    agent: str
    kind: str
    """`start`, `message`, `read`, `task`, `note`, `push`, `fetch` or `finish`."""
    details: Mapping[str, Any]
    """JSON-able."""


class Journal:
    """The record, and the one lock of all that is recorded: `turn`."""

    def __init__(self, agents: Sequence[str], turns: Turns) -> None:
        self._changed = threading.Condition()
        self._turns = turns
        self._now = 0.0
        self._entries: list[Entry] = []
        self._spent = dict.fromkeys(agents, 0)

    @contextlib.contextmanager
    def turn(self, agent: str, verb: str, pause: Pause = lambda: 0.0) -> Iterator[None]:
        """One operation of an agent, from its beginning to its end nobody else's; it may have to wait first."""
        with self._changed:
            self._now = self._turns.begin(self._changed, agent, verb, pause)
            try:
                yield
            finally:
                self._turns.end(self._changed)

    def add(self, agent: str, kind: str, **details: Any) -> Entry:
        """Record one thing, during a turn."""
        entry = Entry(len(self._entries) + 1, self._now, agent, kind, details)
        self._entries.append(entry)
        return entry

    def entries(self) -> tuple[Entry, ...]:
        """All so far, in order."""
        with self._changed:
            return tuple(self._entries)

    def admit(self, agent: str, text: str, copies: int = 1) -> None:
        """Count a text against its author's budget.

        Raises:
            UsageError: it is too long, or the budget is used up; nothing was counted.
        """
        size = len(text.encode("utf-8", "surrogatepass"))
        if size > TEXT_LIMIT:
            raise UsageError(f"the text has {size} bytes, {TEXT_LIMIT} are allowed: send less")
        cost = (size + _OVERHEAD) * copies
        if self._spent[agent] + cost > BUDGET:
            raise UsageError(f"{agent} has used up the {BUDGET // 2**20} MiB of text an agent has in a trial")
        self._spent[agent] += cost
