"""What a run's sandboxes cost: by their vendor where it says so, by list price and the clock where there is one.

A vendor's figures may lag behind by minutes, and a list price knows nothing of what was used beyond what was asked
for; what is counted against a budget is the greater.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from cooperbench.dataset.model import Pair
from cooperbench.errors import BackendError
from cooperbench.eval.backends.base import EvalBackend, MeteredSandbox, Price, PricedBackend, Sandbox, offers
from cooperbench.eval.backends.doubt import guarded
from cooperbench.runner.spec import RunSpec

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


def forecast(backend: EvalBackend, pairs: Sequence[Pair], spec: RunSpec) -> str | None:
    """What the agents' sandboxes of some trials may cost, in a line for people; None where nothing can be said."""
    price = price_of(backend)
    if price is None or not pairs:
        return None
    agents = sum(1 if spec.setting == "solo" else len(pair.features) for pair in pairs)
    most = agents * spec.agent_timeout / 3600 * price.hourly
    return (
        f"a sandbox costs about ${price.hourly:.3f} an hour, by {price.source}: at most ${most:.2f} for {agents} "
        "agents if each takes all its time (an estimate; judging and models come on top)"
    )
