"""One row for each trial of a run, and how rows add up.

How a trial came out is `cooperbench.runs` to say; here are the words and the sums for people. JSON values of a
run directory were perhaps written by another release or edited by hand, so every field is looked at before it
is believed; what makes no sense counts as absent.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

Outcome = Literal["passed", "failed", "error", "pending"]


@dataclass(frozen=True, slots=True)
class TrialRow:
    """What a table says of one trial. `pending`: not run, not finished, or not judged yet."""

    repo: str
    task_id: int
    features: tuple[int, ...]
    setting: str
    outcome: Outcome
    merge: str | None = None
    conflicts: tuple[str, ...] = ()
    unapplied: tuple[str, ...] = ()
    """Agents whose patch did not apply."""
    integrity: int = 0
    messages: int | None = None
    cost: float | None = None
    seconds: float | None = None
    reason: str | None = None
    """Why the verdict is no pass."""
    error: str | None = None
    """What went wrong with the infrastructure or an agent framework."""

    @property
    def task(self) -> str:
        """``repo/task_id``."""
        return f"{self.repo}/{self.task_id}"

    @property
    def name(self) -> str:
        """``repo/task_id/f1,f2``."""
        return f"{self.task}/{','.join(map(str, self.features))}"


@dataclass(frozen=True, slots=True)
class Counts:
    """How trials came out. The four always add up to `total`."""

    passed: int = 0
    failed: int = 0
    errors: int = 0
    pending: int = 0
    conflicts: int = 0
    """Trials whose patches did not merge; all of them are among `failed`."""
    unapplied: int = 0
    """Trials in which at least one patch did not apply."""
    integrity: int = 0
    """Trials with at least one integrity finding, whatever their outcome."""
    cost: float | None = None
    messages: int = 0

    @property
    def total(self) -> int:
        """Every trial."""
        return self.passed + self.failed + self.errors + self.pending

    @property
    def judged(self) -> int:
        """Trials with a verdict."""
        return self.passed + self.failed

    @property
    def pass_rate(self) -> float | None:
        """Passed among the judged; None before the first verdict."""
        return self.passed / self.judged if self.judged else None


def count(rows: Iterable[TrialRow]) -> Counts:
    """Add rows up."""
    rows = list(rows)
    outcomes = [row.outcome for row in rows]
    costs = [row.cost for row in rows if row.cost is not None]
    return Counts(
        passed=outcomes.count("passed"),
        failed=outcomes.count("failed"),
        errors=outcomes.count("error"),
        pending=outcomes.count("pending"),
        conflicts=sum(row.merge == "conflicts" for row in rows),
        unapplied=sum(bool(row.unapplied) for row in rows),
        integrity=sum(row.integrity > 0 for row in rows),
        cost=math.fsum(costs) if costs else None,
        messages=sum(row.messages or 0 for row in rows),
    )


@dataclass(frozen=True, slots=True)
class Why:
    """The part of a verdict that explains it."""

    conflicts: tuple[str, ...] = ()
    unapplied: tuple[str, ...] = ()
    reason: str | None = None


def explain(verdict: Any) -> Why:
    """Why a verdict is what it is.

    Args:
        verdict: what ``eval.json`` holds; None when absent.
    """
    verdict = mapping(verdict)
    statuses = mapping(verdict.get("apply_status"))
    return Why(
        conflicts=texts(mapping(verdict.get("merge")).get("files")),
        unapplied=tuple(agent for agent, word in statuses.items() if word == "failed"),
        reason=text(verdict.get("reason")),
    )


# --------------------------------------------------------------------------- believing only what fits


def mapping(value: Any) -> Mapping[str, Any]:
    """The value if it is an object, else an empty one."""
    return value if isinstance(value, dict) else {}


def listing(value: Any) -> list[Any]:
    """The value if it is a list, else an empty one."""
    return value if isinstance(value, list) else []


def text(value: Any) -> str | None:
    """The value if it is a text with something in it."""
    return value if isinstance(value, str) and value else None


def texts(value: Any) -> tuple[str, ...]:
    """The texts among a list's elements."""
    return tuple(item for item in listing(value) if isinstance(item, str))


def number(value: Any) -> float | None:
    """The value if it is a finite number of at least 0."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        value = float(value)
    except OverflowError:
        return None
    return value if math.isfinite(value) and value >= 0 else None


def whole(value: Any) -> int | None:
    """The value if it is a whole number of at least 0."""
    return value if type(value) is int and value >= 0 else None
