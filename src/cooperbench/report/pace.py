"""How far a run is and how fast it goes: the state behind every kind of progress display. Prints nothing."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import assert_never

from cooperbench.events import (
    AgentFinished,
    Event,
    Judged,
    Note,
    RunFinished,
    RunStarted,
    TrialFinished,
    TrialStarted,
    Waiting,
)


@dataclass(slots=True)
class Pace:
    """Counts of one invocation, fed event by event with the time each came.

    Attributes:
        judging: whether verdicts are awaited; without them a trial is settled when its agents are done.
    """

    judging: bool = True
    total: int = 0
    passed: int = 0
    failed: int = 0
    errors: int = 0
    ran: int = 0
    """Settled without a verdict being awaited."""
    cost: float | None = None
    running: dict[str, float] = field(default_factory=dict)
    """Trial name → when it started, oldest first."""
    waiting: dict[str, str] = field(default_factory=dict)
    """What is waited for → how far it is."""
    started: float = 0.0
    _settled: set[str] = field(default_factory=set)
    _inherited: int = 0

    @property
    def settled(self) -> int:
        """Trials with which this invocation is done."""
        return len(self._settled)

    @property
    def pending(self) -> int:
        """Trials still to come; with the other counts it adds up to `total`."""
        return max(0, self.total - self.settled)

    def observe(self, event: Event, now: float) -> None:
        """Take one event into account."""
        match event:
            case RunStarted():
                self.total, self.started = event.total, now
            case TrialStarted():
                self.running.setdefault(event.pair.name, now)
            case AgentFinished():
                if event.cost is not None:
                    self.cost = (self.cost or 0.0) + event.cost
            case TrialFinished():
                self._finish(event)
            case Judged():
                self._judge(event)
            case Waiting():
                self.waiting.pop(event.what, None)
                if event.how_far is not None:
                    self.waiting[event.what] = event.how_far
            case Note() | RunFinished():
                pass
            case _:
                assert_never(event)

    def rate(self, now: float) -> float | None:
        """Trials settled per second by this invocation's own work; None before the first."""
        worked, elapsed = self.settled - self._inherited, now - self.started
        return worked / elapsed if worked > 0 and elapsed > 0 else None

    def eta(self, now: float) -> float | None:
        """Seconds to go at the present rate; None while unknown."""
        rate = self.rate(now)
        return self.pending / rate if rate else None

    def _finish(self, event: TrialFinished) -> None:
        name = event.pair.name
        if event.status == "error":
            self.errors += self._settle(name)
        elif not self.judging:
            self.ran += self._settle(name)
        if event.status == "skip":
            self._inherited += 1

    def _judge(self, event: Judged) -> None:
        if not self._settle(event.pair.name):
            return
        if event.passed is None:
            self.errors += 1
        elif event.passed:
            self.passed += 1
        else:
            self.failed += 1

    def _settle(self, name: str) -> bool:
        self.running.pop(name, None)
        fresh = name not in self._settled
        self._settled.add(name)
        return fresh


def duration(seconds: float | None) -> str:
    """``0.8s``, ``12s``, ``3m05s``, ``2h07m``; a dash when unknown."""
    if seconds is None:
        return "-"
    if seconds < 9.95:
        return f"{seconds:.1f}s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole}s"
    if whole < 3600:
        return f"{whole // 60}m{whole % 60:02}s"
    return f"{whole // 3600}h{whole % 3600 // 60:02}m"


def frequency(per_second: float | None) -> str:
    """``3.2/s`` or, when slow, ``4.5/min``; a dash when unknown."""
    if per_second is None:
        return "-"
    return f"{per_second:.1f}/s" if per_second >= 1 else f"{per_second * 60:.1f}/min"


def dollars(cost: float | None) -> str:
    """``$0`` for nothing, ``$0.1234`` below a dollar, ``$12.34`` above; a dash when unknown."""
    if cost is None:
        return "-"
    if cost == 0:
        return "$0"
    return f"${cost:.4f}" if cost < 1 else f"${cost:,.2f}"
