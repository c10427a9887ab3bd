"""What a user may set on the modal backend, checked once, frozen."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from cooperbench.errors import UsageError

MIB = 1 << 20
NETWORKS = ("open", "none")
RUNTIMES = ("", "gvisor", "vm")
LONGEST = 24 * 3600
"""Seconds a sandbox of Modal's may live [docs of sandboxes]."""

_LISTS = ("region", "cidr_allowlist", "domain_allowlist")
_NUMBERS = ("creates_per_second", "start_patience", "build_patience")
_WHOLE = ("output", "starting", "builds", "idle")


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
    output: int = 16 * MIB
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
        for name in ("output", "starting", "builds", "start_patience", "build_patience"):
            if getattr(self, name) <= 0:
                raise UsageError(f"modal backend: {name} must be positive, not {getattr(self, name)}")
        for name in ("creates_per_second", "idle"):
            if getattr(self, name) < 0:
                raise UsageError(f"modal backend: {name} must not be negative: {getattr(self, name)}")
        for name in ("cpu", "memory"):
            request, limit = getattr(self, name)
            if not 0 < request <= limit:
                raise UsageError(
                    f"modal backend: {name} is what a sandbox gets and the most it may use, as in [1, 4], "
                    f"not {[request, limit]}"
                )
        _one_of("network", self.network, NETWORKS)
        _one_of("runtime", self.runtime, RUNTIMES)


def settings(table: Mapping[str, Any]) -> Settings:
    """Settings out of a table a person wrote.

    Raises:
        UsageError: a key nobody knows, or a value that is none.
    """
    known = {each.name: each for each in fields(Settings)}
    for name in table:
        if name not in known:
            raise UsageError(f"modal backend: unknown setting {name!r}; there are: {', '.join(known)}")
    return Settings(**{name: _value(name, value) for name, value in table.items()})


def _value(name: str, value: Any) -> Any:
    if name in ("cpu", "memory"):
        return _span(name, value)
    if name in _LISTS:
        given = (value,) if isinstance(value, str) else value
        if not isinstance(given, list | tuple) or not all(isinstance(each, str) and each for each in given):
            raise UsageError(f"modal backend: {name} is a list of texts, not {value!r}")
        return tuple(given)
    if name == "env":
        if not isinstance(value, Mapping) or not all(isinstance(text, str) for text in value.values()):
            raise UsageError("modal backend: env is a table of texts")
        return dict(value)
    wanted = (int, float) if name in _NUMBERS else int if name in _WHOLE else str
    if not isinstance(value, wanted) or isinstance(value, bool):
        raise UsageError(f"modal backend: {name} cannot be {value!r}")
    return value


def _span(name: str, value: Any) -> tuple[Any, Any]:
    """A number for both, or two."""
    pair = tuple(value) if isinstance(value, list | tuple) else (value, value)
    kind = int if name == "memory" else (int, float)
    if len(pair) != 2 or not all(
        isinstance(each, kind) and not isinstance(each, bool) and math.isfinite(each) for each in pair
    ):
        raise UsageError(f"modal backend: {name} is a number or two, as in [1, 4], not {value!r}")
    return pair[0], pair[1]


def _one_of(name: str, value: str, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise UsageError(
            f"modal backend: {name} {value!r}: one of {', '.join(choice or '(empty)' for choice in choices)}"
        )
