"""What a batch will cost and what it has cost, by the dated table in `machines`. Machines only; storage is cents."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass

from cooperbench.budget import Budget
from cooperbench.errors import UsageError
from cooperbench.eval.backends.batch import Work
from cooperbench.eval.backends.gcp.batch.record import Record
from cooperbench.eval.backends.gcp.config import Settings
from cooperbench.eval.backends.gcp.jobs import Jobs
from cooperbench.eval.backends.gcp.machines import PRICES_OF, machine
from cooperbench.eval.job import TYPICAL

_BOOT = 120.0
_PULL = 60.0
"""Seconds for each image a machine pulls."""
_BETWEEN = 5.0
"""Seconds between two questions what a batch has cost, at least."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """A guess made beforehand."""

    machines: int
    hours: float
    """Of all machines together."""
    dollars: float | None
    """None: no price is known for this machine type."""

    def told(self, settings: Settings, spot: bool) -> str:
        """For people."""
        kind = f"{settings.machine_type}{' (Spot)' if spot else ''}"
        price = "no price known" if self.dollars is None else f"about ${self.dollars:.2f}"
        return (
            f"{self.machines} machines {kind}, about {self.hours:.1f} machine hours, {price}: an estimate, at "
            f"{TYPICAL:g} s a judgement and list prices of {PRICES_OF}"
        )


def hourly(settings: Settings, machine_type: str, spot: bool) -> float | None:
    """US dollars for an hour of one machine; None when not known."""
    return machine(machine_type).price(spot=spot, disk_gib=settings.boot_disk_gib)


def estimate(settings: Settings, works: Sequence[Work], slots: int, together: int, spot: bool) -> Estimate:
    """What judging these would cost."""
    machines = math.ceil(slots / together)
    images = len({work.image for work in works})
    working = math.ceil(len(works) / slots) * TYPICAL
    seconds = machines * (_BOOT + working + _PULL * max(1, images / machines))
    price = hourly(settings, settings.machine_type, spot)
    hours = seconds / 3600
    return Estimate(machines, hours, None if price is None else price * hours)


def hold(guess: Estimate, budget: Budget, machine_type: str) -> None:
    """Refuse what would cost more than it may.

    Raises:
        UsageError: it would, or nobody can say.
    """
    if budget.run_limit is None:
        return
    if guess.dollars is None:
        raise UsageError(
            f"no price is known for machine type {machine_type}, so --max-cost cannot be kept: use one of the "
            "families e2, n1, n2, n2d, c2, or leave --max-cost out"
        )
    if guess.dollars > budget.left:
        what = f"${budget.run_limit:g}" if not budget.spent else f"${budget.left:.2f} left"
        raise UsageError(
            f"judging would cost about ${guess.dollars:.2f}, more than the {what} of --max-cost; raise it, or "
            "judge a smaller selection"
        )


class Meter:
    """What one batch costs, by the service's own account of its tasks, counted against a budget.

    While it runs that is asked for only when all its machines together could have used up what is left, so however
    long it runs it is asked for a few times.
    """

    def __init__(self, jobs: Jobs, record: Record, budget: Budget) -> None:
        self._jobs = jobs
        self._record = record
        self._budget = budget
        self._price = hourly(jobs.settings, record.machine_type, record.spot)
        self._counted = 0.0
        self._asked: float | None = None
        """When what was counted was so; None: not known yet, and it may have run before."""

    def begins(self) -> None:
        """It has just been submitted: nothing can have been spent."""
        self._asked = time.monotonic()

    def is_spent(self) -> bool:
        """Whether the batch has used up what there was.

        Raises:
            BackendError: the service does not say.
        """
        if self._price is None or not self._could_be():
            return False
        self.count()
        return self._budget.exhausted

    def _could_be(self) -> bool:
        if self._budget.run_limit is None:
            return False
        if self._asked is None:
            return True
        passed = time.monotonic() - self._asked
        machines = math.ceil(self._record.slots / self._record.together)
        return passed > _BETWEEN and machines * passed / 3600 * (self._price or 0.0) >= self._budget.left

    def count(self) -> tuple[float, float | None]:
        """Machine seconds and US dollars so far; the budget knows of them then.

        Raises:
            BackendError: the service does not say.
        """
        now = time.monotonic()
        seconds = self._jobs.seconds_run(self._record.job_id) / self._record.together
        self._asked = now
        if self._price is None:
            return seconds, None
        dollars = seconds / 3600 * self._price
        self._budget.spend(dollars - self._counted)
        self._counted = dollars
        return seconds, dollars
