"""Network for sandboxes: none, the internet without this host and its neighbourhood, or the host's own."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cooperbench.eval.backends.base import Network


@dataclass(frozen=True, slots=True)
class Plan:
    """What a sandbox has to be told about its network."""

    mode: Network
    forbidden: tuple[str, ...] = ()
    """Networks that must not be reached."""
    files: dict[str, str] = field(default_factory=dict)

    def message(self) -> dict[str, Any]:
        """As the zygote takes it."""
        return {"mode": self.mode, "forbidden": self.forbidden}


def plan(mode: Network) -> Plan:
    """How to grant this wish."""
    if mode == "host":
        return Plan(mode, files={"/etc/resolv.conf": Path("/etc/resolv.conf").read_text(errors="replace")})
    return Plan(mode)
