"""What a user may set on the docker backend, checked once, frozen."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from cooperbench.eval.backends.table import Size, not_negative, one_of, positive, read

MIB = 1 << 20
GIB = 1 << 30
NETWORKS = ("open", "none", "internal", "host")
PULLS = ("missing", "always", "never")


@dataclass(frozen=True, slots=True)
class Settings:
    """Every setting with its default: the table ``[backends.docker]``. Sizes are bytes, or text such as ``"4g"``."""

    host: str = ""
    """The engine's address (``unix:///run/podman/podman.sock``); empty: looked for, see `engine`."""
    network: str = "open"
    """What a sandbox gets when its dataset does not say: `open`, `none`, `internal` or `host`."""
    open_network: str = ""
    """Name of the engine's network that `open` means; empty: the engine's default."""
    memory: Size = 4 * GIB
    cpus: float = 0.0
    """Processors' worth of time; 0: all there is."""
    processes: int = 1024
    shared_memory: Size = 256 * MIB
    """Size of ``/dev/shm``."""
    output: Size = 16 * MIB
    """Bytes kept of each stream of a command: its tail."""
    env: Mapping[str, str] = field(default_factory=dict)
    """Added to every sandbox's environment (a proxy, a package index)."""
    pull: str = "missing"
    """When images are pulled: `missing`, `always` (once for each backend object) or `never`."""
    mirror: str = ""
    """Registry, with a prefix perhaps, that images are pulled from in place of the one in their name."""
    pull_patience: float = 6 * 3600.0
    """Seconds a registry's "too many requests" is waited out."""
    disk_budget: Size = 0
    """Bytes of pulled images to keep on the engine; 0: no bound."""
    host_image: str = ""
    """The image that a recipe's base `host` means; empty: made from this machine's programs."""

    def __post_init__(self) -> None:
        positive(self, "docker", "memory", "processes", "shared_memory", "output")
        not_negative(self, "docker", "cpus", "pull_patience", "disk_budget")
        one_of(self, "docker", "network", NETWORKS)
        one_of(self, "docker", "pull", PULLS)


def settings(table: Mapping[str, Any]) -> Settings:
    """Settings out of a table a person wrote.

    Raises:
        UsageError: a key nobody knows, or a value that is none.
    """
    return read(Settings, table, "docker")
