"""What a user may set on the embedded sandbox, checked once, frozen."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import get_args

from cooperbench.errors import UsageError
from cooperbench.eval.backends.base import Network
from cooperbench.eval.backends.table import not_negative, one_of, positive
from cooperbench.settings import size

MIB = 1 << 20
GIB = 1 << 30
PULLS = ("missing", "always", "never")
RUNGS = ("root-range", "user-range", "user-single")


@dataclass(frozen=True, slots=True)
class Settings:
    """Every setting with its default; a sandbox gets these limits unless told otherwise."""

    state_dir: Path | None = None
    """Where images and sandboxes' files live; None: `COOPERBENCH_STATE_DIR`, else the system's place for it."""
    network: Network = "none"
    """What a sandbox gets when its spec does not say."""
    memory: int = 4 * GIB
    processes: int = 1024
    upper: str = "disk"
    """Where writes go: `disk`, or `tmpfs:SIZE` (``tmpfs:512m``): faster, bounded exactly, counted as memory."""
    file_size: int = 16 * GIB
    open_files: int = 8192
    output: int = 16 * MIB
    """Bytes kept of each stream of a command: its tail."""
    shared_memory: int = 256 * MIB
    """Size of ``/dev/shm``."""
    disk_reserve: int = 512 * MIB
    """Commands are killed when the state directory's file system has less than this left."""
    env: Mapping[str, str] = field(default_factory=dict)
    """Added to every sandbox's environment (a proxy, a package index)."""
    pull: str = "missing"
    """When images are pulled: `missing`, `always` (asked for once by each backend object) or `never`."""
    mirror: str | Sequence[str] = ()
    """Registries that are asked first, in this order: ``host[:port][/prefix]``, with ``http://`` before it perhaps."""
    pull_patience: float = 6 * 3600.0
    """Seconds a registry's "too many requests" is waited out."""
    build_network: Network = "open"
    """What the RUN instructions of Dockerfiles get."""
    disk_budget: int | str = 0
    """Bytes of image layers to keep (or text such as ``"20g"``); 0: no bound."""
    rung: str | None = None
    """Insist on one way of mapping ids; None: the best that works."""

    def __post_init__(self) -> None:
        for name in (
            "memory",
            "processes",
            "file_size",
            "open_files",
            "output",
            "shared_memory",
            "disk_reserve",
        ):
            if type(getattr(self, name)) is not int:
                raise UsageError(f"local backend: {name} is a whole number, not {getattr(self, name)!r}")
        positive(self, "local", "memory", "processes", "file_size", "open_files", "output", "shared_memory")
        not_negative(self, "local", "disk_reserve")
        one_of(self, "local", "network", get_args(Network))
        if self.rung is not None:
            one_of(self, "local", "rung", RUNGS)
        if not re.fullmatch(r"disk|tmpfs(:[1-9]\d*[kmg]?)?", self.upper):
            raise UsageError(f"local backend: upper {self.upper!r}: `disk` or `tmpfs:SIZE` as in tmpfs:512m")

        self._check_images()

    def _check_images(self) -> None:
        one_of(self, "local", "build_network", get_args(Network))
        one_of(self, "local", "pull", PULLS)
        if not isinstance(self.pull_patience, int | float) or self.pull_patience < 0:
            raise UsageError(f"local backend: pull_patience is seconds, not {self.pull_patience!r}")
        for mirror in self.mirrors:
            if not re.fullmatch(r"(https?://)?[A-Za-z0-9.\[\]:-]+(/[a-z0-9/._-]*)?", str(mirror)):
                raise UsageError(f"local backend: mirror {mirror!r}: host[:port][/prefix]")
        _ = self.budget

    @property
    def mirrors(self) -> tuple[str, ...]:
        """Every mirror."""
        return (self.mirror,) if isinstance(self.mirror, str) else tuple(self.mirror)

    @property
    def budget(self) -> int:
        """The disk budget in bytes."""
        text = str(self.disk_budget)
        found = size(text)
        if found is None or isinstance(self.disk_budget, bool):
            raise UsageError(f"local backend: disk_budget is a size such as 20g, not {self.disk_budget!r}")
        return found

    @property
    def in_memory(self) -> bool:
        """Writes go to memory."""
        return self.upper != "disk"

    @property
    def memory_disk(self) -> str:
        """Size of the tmpfs writes go to."""
        return self.upper.partition(":")[2] or "2g"
