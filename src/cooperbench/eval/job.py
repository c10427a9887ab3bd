"""The Job and what comes back from it: plain values between `plan`, the backends and `verdict`.

A Job is all a backend needs to know of judging: an image, files to put there, one command, a directory to bring
back. It says nothing of patches, merges or tests.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from cooperbench.eval.backends.base import Network

TYPICAL = 90.0
"""Seconds a judgement is taken to last where its cost is estimated: real ones last from ten seconds to some minutes."""


@dataclass(frozen=True, slots=True)
class Job:
    """One shell program to run in one fresh sandbox."""

    image: str
    files: Mapping[str, bytes]
    """Absolute path inside the sandbox → contents. A ``.sh`` file is made executable."""
    command: tuple[str, ...]
    results: str
    """Directory whose regular files are the facts to bring back."""
    timeout: float
    """Seconds the command may take; the sandbox lives a little longer."""
    env: Mapping[str, str] = field(default_factory=dict)
    network: Network | None = None
    labels: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class JobOutput:
    """What a Job left behind."""

    facts: Mapping[str, bytes]
    """File name → contents."""
    returncode: int
    stdout: bytes
    stderr: bytes
    timed_out: bool
    timings: Mapping[str, float]
    """Seconds by stage: create, upload, exec, download, terminate."""
