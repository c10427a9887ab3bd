"""One command as it was asked for, from a sandbox's door to what carries it out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Command:
    """What `base.CommandSandbox.run` was asked for."""

    argv: tuple[str, ...]
    timeout: float | None
    env: Mapping[str, str]
    cwd: str | None
    stdin: bytes | None
