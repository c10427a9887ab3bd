"""What sandboxes cost: by their vendor where it says so, by list price and the clock where there is one.

A vendor's figures may lag behind by minutes, and a list price knows nothing of what was used beyond what was asked
for; what is counted against a budget is the greater. And the till at which judgements are paid for.
"""

from __future__ import annotations

import logging
import math
import threading
from dataclasses import dataclass
from typing import Any

from cooperbench.budget import Budget
from cooperbench.errors import BackendError
from cooperbench.eval.backends.base import EvalBackend, MeteredSandbox, Price, PricedBackend, Sandbox, offers
from cooperbench.eval.backends.doubt import guarded
from cooperbench.eval.job import TYPICAL
from cooperbench.runs import RunDirectory

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Expense:
    """What one sandbox has cost, or several together, in US dollars; None is not known."""

    vendor: float | None = None
    estimate: float | None = None

    @property
    def counted(self) -> float:
        """Against a budget; what nobody knows costs nothing there."""
        return max(self.vendor or 0.0, self.estimate or 0.0)

    @property
    def known(self) -> bool:
        """Whether there is anything to tell."""
        return self.vendor is not None or self.estimate is not None

    def record(self) -> dict[str, Any]:
        """As a result on disk has it."""
        return {
            "vendor": self.vendor,
            "estimate": None if self.estimate is None else round(self.estimate, 6),
        }


def price_of(backend: EvalBackend) -> Price | None:
    """What a backend's sandboxes cost; None where they cost nothing, or nobody says."""
    if not offers(backend, PricedBackend):
        return None
    with guarded("asking the price of a sandbox"):
        price = backend.price()
    return price if isinstance(price, Price) and math.isfinite(price.hourly) else None


def expense(price: Price | None, seconds: float, sandbox: Sandbox | None = None) -> Expense:
    """What a sandbox that lived so long has cost; its vendor is asked only about a `sandbox` that is given."""
    estimate = price.hourly * seconds / 3600 if price is not None else None
    return Expense(_by_vendor(sandbox) if sandbox is not None else None, estimate)


def _by_vendor(sandbox: Sandbox) -> float | None:
    if not offers(sandbox, MeteredSandbox):
        return None
    try:
        with guarded("asking what a sandbox has cost"):
            dollars = sandbox.cost()
    except BackendError as problem:  # a figure that cannot be had must not cost the trial
        log.warning("%s", problem)
        return None
    sound = isinstance(dollars, int | float) and math.isfinite(dollars) and dollars >= 0
    return float(dollars) if sound and dollars is not None else None


class Till:
    """Where a run's judgements are paid for, one by one: against a budget, and in a note that outlives this process.

    Safe to use from any thread. What it costs is an estimate, by list price and the clock.
    """

    def __init__(self, run: RunDirectory, backend: EvalBackend, budget: Budget) -> None:
        self.price = price_of(backend)
        """Of one sandbox; None where it costs nothing, or nobody says."""
        self.budget = budget
        self._run = run
        self._lock = threading.Lock()

    def pay(self, seconds: float) -> None:
        """For a judgement, whatever came of it, whose sandbox lived so long."""
        dollars = expense(self.price, seconds).counted
        if dollars <= 0:
            return
        self.budget.spend(dollars)
        with self._lock:
            self._run.add_judging_cost(dollars)

    def forecast(self, judgements: int) -> str | None:
        """What so many judgements may cost, in a line for people; None where nothing can be said."""
        if self.price is None or not judgements:
            return None
        dollars = judgements * TYPICAL / 3600 * self.price.hourly
        return (
            f"judging {judgements} trials costs about ${dollars:.2f}, at {TYPICAL:g} s each and "
            f"${self.price.hourly:.3f} an hour, by {self.price.source} (an estimate)"
        )
