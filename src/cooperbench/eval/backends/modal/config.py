"""What a user may set on the modal backend, checked once, frozen."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from cooperbench.errors import UsageError
from cooperbench.eval.backends.table import Size, not_negative, one_of, positive, read

MIB = 1 << 20
NETWORKS = ("open", "none")
RUNTIMES = ("", "gvisor", "vm")
LONGEST = 24 * 3600
"""Seconds a sandbox of Modal's may live [docs of sandboxes]."""


@dataclass(frozen=True, slots=True)
class Settings:
    """Every setting with its default: the table ``[backends.modal]``."""

    app_name: str = "cooperbench"
    """The app sandboxes are made in; `clean` looks there."""
    environment: str = ""
    """Modal's environment; empty: the client's own default."""
    network: str = "open"
    """What a sandbox gets when its dataset does not say: `open` or `none`."""
    cidr_allowlist: tuple[str, ...] = ()
    """Where `open` leads, as networks (``10.0.0.0/8``); empty: everywhere."""
    domain_allowlist: tuple[str, ...] = ()
    """Where `open` leads, as names, by TLS; empty: everywhere."""
    cpu: tuple[float, float] = (1.0, 4.0)
    """Cores a sandbox is given, and the most it may use; a core of Modal's is two virtual processors."""
    memory: tuple[int, int] = (2048, 8192)
    """MiB a sandbox is given, and the most it may use."""
    region: tuple[str, ...] = ()
    runtime: str = ""
    """`gvisor`, `vm`, or empty: Modal's choice."""
    registry_secret: str = ""
    """Name of the Modal secret with which images are pulled (`REGISTRY_USERNAME` and `REGISTRY_PASSWORD` in it)."""
    host_image: str = ""
    """The image that a recipe's base `host` means: one with a shell, git and python3."""
    env: Mapping[str, str] = field(default_factory=dict)
    """Added to every sandbox's environment."""
    output: Size = 16 * MIB
    """Bytes kept of each stream of a command: its tail."""
    idle: int = 1800
    """Seconds after which Modal ends a sandbox in which nothing is done; 0: never before its lifetime is over."""
    creates_per_second: float = 4.0
    """Sandboxes created in a second by all processes of this user together; 0: no limit."""
    starting: int = 64
    """Sandboxes being created at once by this process."""
    builds: int = 8
    """Images being built at once."""
    start_patience: float = 1200.0
    """Seconds a creation may take, with all its waiting for a place."""
    build_patience: float = 3600.0
    """Seconds the building of an image may take."""

    def __post_init__(self) -> None:
        if not self.app_name:
            raise UsageError("modal backend: app_name must not be empty")
        positive(self, "modal", "output", "starting", "builds", "start_patience", "build_patience")
        not_negative(self, "modal", "creates_per_second", "idle")
        for name in ("cpu", "memory"):
            request, limit = getattr(self, name)
            if not 0 < request <= limit:
                raise UsageError(
                    f"modal backend: {name} is what a sandbox gets and the most it may use, as in [1, 4], "
                    f"not {[request, limit]}"
                )
        one_of(self, "modal", "network", NETWORKS)
        one_of(self, "modal", "runtime", RUNTIMES)


def settings(table: Mapping[str, Any]) -> Settings:
    """Settings out of a table a person wrote.

    Raises:
        UsageError: a key nobody knows, or a value that is none.
    """
    return read(Settings, table, "modal")
