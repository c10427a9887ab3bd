"""What a batch will cost and what it has cost, by the dated table in `machines`. Machines only; storage is cents."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from cooperbench.errors import UsageError
from cooperbench.eval.backends.batch import Work
from cooperbench.eval.backends.gcp.config import Settings
from cooperbench.eval.backends.gcp.machines import PRICES_OF, machine

_EACH = 90.0
"""Seconds a judgement is taken to last: real ones last from ten seconds to some minutes."""
_BOOT = 120.0
_PULL = 60.0
"""Seconds for each image a machine pulls."""


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
            f"{_EACH:g} s a judgement and list prices of {PRICES_OF}"
        )


def hourly(settings: Settings, machine_type: str, spot: bool) -> float | None:
    """US dollars for an hour of one machine; None when not known."""
    return machine(machine_type).price(spot=spot, disk_gib=settings.boot_disk_gib)


def estimate(settings: Settings, works: Sequence[Work], slots: int, together: int, spot: bool) -> Estimate:
    """What judging these would cost."""
    machines = math.ceil(slots / together)
    images = len({work.image for work in works})
    working = math.ceil(len(works) / slots) * _EACH
    seconds = machines * (_BOOT + working + _PULL * max(1, images / machines))
    price = hourly(settings, settings.machine_type, spot)
    hours = seconds / 3600
    return Estimate(machines, hours, None if price is None else price * hours)


def hold(guess: Estimate, most: float | None, machine_type: str) -> None:
    """Refuse what would cost more than it may.

    Raises:
        UsageError: it would, or nobody can say.
    """
    if most is None:
        return
    if guess.dollars is None:
        raise UsageError(
            f"no price is known for machine type {machine_type}, so --max-cost cannot be kept: use one of the "
            "families e2, n1, n2, n2d, c2, or leave --max-cost out"
        )
    if guess.dollars > most:
        raise UsageError(
            f"judging would cost about ${guess.dollars:.2f}, more than the ${most:g} of --max-cost; raise it, or "
            "judge a smaller selection"
        )
