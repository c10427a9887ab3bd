"""What a run and each of its trials may cost, in US dollars: models, sandboxes, whatever is paid for.

A run that has spent its share starts no new trial; what is under way ends as it would have. A trial that has spent
its own gets no more answers from its model. Costs nobody knows cannot be counted here.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable

from cooperbench.errors import UsageError


class Budget:
    """One run's money; safe to use from any thread."""

    def __init__(self, run: float | None = None, trial: float | None = None, spent: float = 0.0) -> None:
        """A budget; None is no limit.

        Args:
            spent: what earlier invocations of the same run have cost.

        Raises:
            UsageError: a limit is not an amount of money above 0.
        """
        for name, limit in (("max_cost", run), ("max_trial_cost", trial)):
            if limit is not None and not (limit > 0 and math.isfinite(limit)):
                raise UsageError(f"{name} must be an amount of US dollars above 0, not {limit!r}")
        self.run_limit = run
        self.trial_limit = trial
        self._spent = spent
        self._lock = threading.Lock()

    @property
    def spent(self) -> float:
        """US dollars so far."""
        with self._lock:
            return self._spent

    @property
    def exhausted(self) -> bool:
        """Whether no new trial may start."""
        return self.run_limit is not None and self.spent >= self.run_limit

    @property
    def left(self) -> float:
        """US dollars that may still be spent; infinite without a limit."""
        return math.inf if self.run_limit is None else max(0.0, self.run_limit - self.spent)

    def told(self, undone: str) -> str:
        """For people, once it is exhausted; `undone`: what was left out for it."""
        return (
            f"${self.spent:.2f} of the ${self.run_limit:g} of --max-cost are spent: {undone}; the same command with a "
            "higher --max-cost goes on with them"
        )

    def spend(self, dollars: float) -> None:
        """Count a cost of the run; a negative one corrects what was counted too high."""
        with self._lock:
            self._spent += dollars

    def purse(self, keep: Callable[[float], None] | None = None) -> Purse:
        """What one trial pays from.

        Args:
            keep: is told of every amount as it is spent, so that it is known of even if the harness is killed.
        """
        return Purse(self, keep)


class Purse:
    """One trial's share: what it spends, its run has spent."""

    def __init__(self, budget: Budget, keep: Callable[[float], None] | None = None) -> None:
        self._budget = budget
        self._keep = keep
        self._spent = 0.0
        self._lock = threading.Lock()

    @property
    def spent(self) -> float:
        """US dollars this trial has cost so far."""
        with self._lock:
            return self._spent

    @property
    def exhausted(self) -> bool:
        """Whether this trial may buy nothing more."""
        limit = self._budget.trial_limit
        return limit is not None and self.spent >= limit

    def spend(self, dollars: float) -> None:
        """Count a cost of the trial, and of its run."""
        if not dollars:
            return
        with self._lock:
            self._spent += dollars
        self._budget.spend(dollars)
        if self._keep is not None:
            self._keep(dollars)
