"""What happens during a run, as plain values: the runner and the evaluator tell, whoever shows them listens.

Nothing here prints. A listener is called from several threads, one event at a time, and must return quickly.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from cooperbench.dataset.model import Pair


@dataclass(frozen=True, slots=True)
class RunStarted:
    """The selection is known, the run directory is locked, nothing has run yet."""

    run_name: str
    total: int
    """Trials of this invocation's selection."""
    pending: int
    """Of those, the ones still to be run."""
    backend: str
    reason: str
    """Why that backend, in a few words."""
    concurrency: int
    directory: Path
    reckoning: str = ""
    """Why so many at once, where the backend's machine decided it."""


@dataclass(frozen=True, slots=True)
class TrialStarted:
    """A trial's sandboxes are being made."""

    pair: Pair
    setting: str


@dataclass(frozen=True, slots=True)
class AgentFinished:
    """One agent of a trial is done, or gave up."""

    pair: Pair
    agent_id: str
    status: str
    """`Submitted`, `LimitsExceeded`, `Error`, or the framework's own word."""
    cost: float | None
    """US dollars; None when not known."""


@dataclass(frozen=True, slots=True)
class TrialFinished:
    """A trial has its patches and its result on disk."""

    pair: Pair
    setting: str
    status: Literal["done", "error", "skip"]
    """`skip`: finished by an earlier invocation."""
    seconds: float
    cost: float | None
    messages: int
    error: str | None


@dataclass(frozen=True, slots=True)
class Judged:
    """A trial has its verdict, or could not be judged."""

    pair: Pair
    setting: str
    passed: bool | None
    """None: the infrastructure failed, see `error`; that is no verdict."""
    merge: str | None
    """`clean`, `identical`, `conflicts`, `missing_input`; None in `solo`."""
    integrity: int
    """How many integrity findings."""
    seconds: float
    error: str | None
    conflicts: tuple[str, ...]
    """Files both sides changed in ways that do not merge."""


@dataclass(frozen=True, slots=True)
class Waiting:
    """Something that trials wait for: an image that is pulled or built, a registry that wants patience."""

    what: str
    how_far: str | None
    """None: it is over."""


@dataclass(frozen=True, slots=True)
class Note:
    """One line worth telling: an image built, a leftover removed, how to resume."""

    text: str


@dataclass(frozen=True, slots=True)
class RunFinished:
    """Everything is done, or the run was interrupted; the summaries are on disk."""

    summary: Mapping[str, Any]


Event = RunStarted | TrialStarted | AgentFinished | TrialFinished | Judged | Waiting | Note | RunFinished

Progress = Callable[[Event], None]
