"""What a user may set on the docker backend, checked once, frozen."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from cooperbench.errors import UsageError
from cooperbench.settings import size

MIB = 1 << 20
GIB = 1 << 30
NETWORKS = ("open", "none", "internal", "host")
PULLS = ("missing", "always", "never")

_SIZES = ("memory", "output", "shared_memory", "disk_budget")


@dataclass(frozen=True, slots=True)
class Settings:
    """Every setting with its default: the table ``[backends.docker]``. Sizes are bytes, or text such as ``"4g"``."""

    host: str = ""
    """The engine's address (``unix:///run/podman/podman.sock``); empty: looked for, see `engine`."""
    network: str = "open"
    """What a sandbox gets when its dataset does not say: `open`, `none`, `internal` or `host`."""
    open_network: str = ""
    """Name of the engine's network that `open` means; empty: the engine's default."""
    memory: int = 4 * GIB
    cpus: float = 0.0
    """Processors' worth of time; 0: all there is."""
    processes: int = 1024
    shared_memory: int = 256 * MIB
    """Size of ``/dev/shm``."""
    output: int = 16 * MIB
    """Bytes kept of each stream of a command: its tail."""
    env: Mapping[str, str] = field(default_factory=dict)
    """Added to every sandbox's environment (a proxy, a package index)."""
    pull: str = "missing"
    """When images are pulled: `missing`, `always` (once for each backend object) or `never`."""
    mirror: str = ""
    """Registry, with a prefix perhaps, that images are pulled from in place of the one in their name."""
    pull_patience: float = 6 * 3600.0
    """Seconds a registry's "too many requests" is waited out."""
    disk_budget: int = 0
    """Bytes of pulled images to keep on the engine; 0: no bound."""
    host_image: str = ""
    """The image that a recipe's base `host` means; empty: made from this machine's programs."""

    def __post_init__(self) -> None:
        for name in ("memory", "processes", "shared_memory", "output"):
            if getattr(self, name) <= 0:
                raise UsageError(f"docker backend: {name} must be positive, not {getattr(self, name)}")
        for name in ("cpus", "pull_patience", "disk_budget"):
            if getattr(self, name) < 0:
                raise UsageError(f"docker backend: {name} must not be negative: {getattr(self, name)}")
        _one_of("network", self.network, NETWORKS)
        _one_of("pull", self.pull, PULLS)


def settings(table: Mapping[str, Any]) -> Settings:
    """Settings out of a table a person wrote.

    Raises:
        UsageError: a key nobody knows, or a value that is none.
    """
    known = {each.name: each for each in fields(Settings)}
    for name in table:
        if name not in known:
            raise UsageError(f"docker backend: unknown setting {name!r}; there are: {', '.join(known)}")
    return Settings(**{name: _value(name, value) for name, value in table.items()})


def _value(name: str, value: Any) -> Any:
    if name in _SIZES:
        return _size(name, value)
    if name == "env":
        if not isinstance(value, Mapping) or not all(isinstance(text, str) for text in value.values()):
            raise UsageError("docker backend: env is a table of texts")
        return dict(value)
    wanted: type | tuple[type, ...] = str
    if name in ("cpus", "pull_patience"):
        wanted = (int, float)
    elif name == "processes":
        wanted = int
    if not isinstance(value, wanted) or isinstance(value, bool):
        raise UsageError(f"docker backend: {name} cannot be {value!r}")
    return value


def _size(name: str, value: Any) -> int:
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    found = size(str(value))
    if found is None:
        raise UsageError(f"docker backend: {name} is a size such as 512m or 4g, not {value!r}")
    return found


def _one_of(name: str, value: str, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise UsageError(f"docker backend: {name} {value!r}: one of {', '.join(choices)}")
