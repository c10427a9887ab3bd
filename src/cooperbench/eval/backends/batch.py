"""Many Jobs as one: the optional road of a backend that runs ten thousand of them better together than one by one.

What such a backend gives for a Job is what `shell.run_job` would give: the same `JobOutput`, so the same verdict.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from cooperbench.budget import Budget
from cooperbench.errors import BackendError
from cooperbench.eval.backends.base import EvalBackend
from cooperbench.eval.job import Job, JobOutput


@dataclass(frozen=True, slots=True)
class Work:
    """One Job of many."""

    key: str
    """Names the Job across invocations: the same key is the same Job."""
    image: str
    make: Callable[[], Job]
    """The Job itself, made when it is needed: ten thousand at once would be gigabytes."""


class Ledger(Protocol):
    """Where a backend keeps what it must know to take up a batch again after its harness was killed."""

    def read(self) -> dict[str, Any] | None:
        """What was written last; None when nothing was, or it was cleared."""
        ...

    def write(self, record: Mapping[str, Any]) -> None:
        """Replace it, in one step; its ``keys`` are those of the works under way."""
        ...

    def clear(self, account: Mapping[str, Any]) -> None:
        """The batch is over; its account (what ran, what it cost) is kept."""
        ...


@dataclass(frozen=True, slots=True)
class Wishes:
    """What is asked of a batch as a whole."""

    concurrency: int
    """Jobs at once."""
    budget: Budget
    """What machines may cost, and what has been spent before; what they cost is counted there."""
    labels: Mapping[str, str]
    """For the vendor's console and for `cooperbench clean`."""
    tell: Callable[[str], None]
    """One line for people."""
    stopped: Callable[[], bool]
    """Whether somebody wants to leave: then nothing more is waited for."""
    cancel: Callable[[], bool]
    """Asked then: whether the batch is to be ended, or goes on for the next call to take up."""


Outcome = JobOutput | BackendError
"""What one Job came to; the error stands for trouble of the infrastructure, as `run_job` would raise it."""


@runtime_checkable
class BatchBackend(EvalBackend, Protocol):
    """A backend that runs many Jobs as one batch."""

    def run_jobs(
        self, works: Sequence[Work], ledger: Ledger, wishes: Wishes
    ) -> Iterator[tuple[str, Outcome]]:
        """Each work's key with its outcome, once, as it comes.

        A batch that the ledger holds is taken up first: its outcomes are used where their keys are asked for, and
        nothing is submitted twice. An iterator that is left early leaves the batch going, for the next call.

        Raises:
            BackendError: the batch cannot be had at all. UsageError: it would cost more than it may.
        """
        ...
