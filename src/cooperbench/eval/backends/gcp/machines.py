"""Machine types: what one holds, and what it costs by a dated table. Pure; asks nobody."""

from __future__ import annotations

import re
from dataclasses import dataclass

PRICES_OF = "2025-06"
"""When the list prices below were current, in us-central1. Other regions and later dates differ: an estimate."""


@dataclass(frozen=True, slots=True)
class _Family:
    """List prices in US dollars an hour, and GiB of memory for each virtual processor by class of machine."""

    processor: float
    gibibyte: float
    standard: float
    highmem: float
    highcpu: float


_FAMILIES = {
    "e2": _Family(0.021811, 0.002923, 4, 8, 1),
    "n1": _Family(0.031611, 0.004237, 3.75, 6.5, 0.9),
    "n2": _Family(0.031611, 0.004237, 4, 8, 1),
    "n2d": _Family(0.027502, 0.003686, 4, 8, 1),
    "c2": _Family(0.03398, 0.00455, 4, 0, 0),
}
_SPOT = 0.4
"""Of the list price: Spot is announced as 60 to 91 % off, so this errs on the dear side."""
_DISK = 0.10 / 730
"""US dollars for a GiB of balanced persistent disk and hour."""
_SYSTEM_MIB = 1024
"""What the machine's own system needs."""


@dataclass(frozen=True, slots=True)
class Machine:
    """One machine type."""

    name: str
    processors: int
    """Virtual ones; 0: not known, the type is not in the table."""
    memory_mib: int
    hourly: float | None
    """US dollars by list price, None when not known."""

    def price(self, *, spot: bool, disk_gib: int) -> float | None:
        """US dollars an hour with its boot disk."""
        if self.hourly is None:
            return None
        return self.hourly * (_SPOT if spot else 1.0) + disk_gib * _DISK

    def slots(self, wanted: int) -> int:
        """How many sandboxes it serves side by side."""
        return wanted or max(1, self.processors // 2)

    def share(self, slots: int, memory_mib: int) -> tuple[int, int]:
        """Thousandths of a processor and MiB of memory for each of `slots` sandboxes; 0: not known."""
        milli = self.processors * 1000 // slots
        return milli, memory_mib or max(0, self.memory_mib - _SYSTEM_MIB) // slots


def machine(name: str) -> Machine:
    """What is known of a machine type; nothing of one that the table does not have."""
    found = re.fullmatch(r"([a-z0-9]+)-(standard|highmem|highcpu)-(\d{1,3})", name)
    family = _FAMILIES.get(found[1]) if found else None
    if found is None or family is None:
        return Machine(name, 0, 0, None)
    processors = int(found[3])
    gibibytes = processors * float(getattr(family, found[2]))
    hourly = processors * family.processor + gibibytes * family.gibibyte
    return Machine(name, processors, int(gibibytes * 1024), hourly)
