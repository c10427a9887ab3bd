"""What a user may set on the embedded sandbox, checked once, frozen."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import get_args

from cooperbench.errors import UsageError
from cooperbench.eval.backends.base import Network

MIB = 1 << 20
GIB = 1 << 30
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
        for name in ("memory", "processes", "file_size", "open_files", "output", "shared_memory"):
            if getattr(self, name) <= 0:
                raise UsageError(f"local backend: {name} must be positive, not {getattr(self, name)}")
        if self.disk_reserve < 0:
            raise UsageError(f"local backend: disk_reserve must not be negative: {self.disk_reserve}")
        if self.network not in get_args(Network):
            raise UsageError(
                f"local backend: network {self.network!r}: one of {', '.join(get_args(Network))}"
            )
        if self.rung is not None and self.rung not in RUNGS:
            raise UsageError(f"local backend: rung {self.rung!r}: one of {', '.join(RUNGS)}")
        if not re.fullmatch(r"disk|tmpfs(:[1-9]\d*[kmg]?)?", self.upper):
            raise UsageError(f"local backend: upper {self.upper!r}: `disk` or `tmpfs:SIZE` as in tmpfs:512m")

    @property
    def in_memory(self) -> bool:
        """Writes go to memory."""
        return self.upper != "disk"

    @property
    def memory_disk(self) -> str:
        """Size of the tmpfs writes go to."""
        return self.upper.partition(":")[2] or "2g"
