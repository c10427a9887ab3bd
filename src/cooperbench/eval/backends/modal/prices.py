"""What a sandbox costs by Modal's list prices: for an estimate before a run, never for a bill.

Modal bills the greater of what a sandbox was given and what it used, region and contract aside; the figures of a
sandbox that has run are Modal's own (`ModalSandbox.cost`).
"""

from __future__ import annotations

from cooperbench.eval.backends.base import Price
from cooperbench.eval.backends.modal.config import Settings

AS_OF = "June 2026"
"""When the prices below were looked up, in https://modal.com/pricing, under sandboxes."""
_CORE_SECOND = 0.00003942
_GIB_SECOND = 0.00000672


def price(settings: Settings) -> Price:
    """Of a sandbox with these settings that uses no more than it is given."""
    cores, mib = settings.cpu[0], settings.memory[0]
    hourly = 3600 * (cores * _CORE_SECOND + mib / 1024 * _GIB_SECOND)
    return Price(hourly, f"Modal's list prices of {AS_OF} for {cores:g} cores and {mib / 1024:g} GiB")
