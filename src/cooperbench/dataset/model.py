"""Task, Feature, Pair, Subset: what a dataset is made of, as plain values. `layout` reads them from disk."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from cooperbench import atomic
from cooperbench.eval.backends.base import Network, Recipe


@dataclass(frozen=True, slots=True)
class Feature:
    """One feature of a task: what an agent is told, what the judge runs."""

    number: int
    path: Path
    """The feature's directory: ``feature.md``, ``feature.patch``, ``tests.patch``."""

    @property
    def specification(self) -> str:
        """What the agent is told (``feature.md``)."""
        text = _content(f"{self.path}/feature.md").decode("utf-8", "replace")
        return text.replace("\r\n", "\n").replace("\r", "\n")

    @property
    def gold_patch(self) -> bytes:
        """The reference solution, byte for byte."""
        return _content(f"{self.path}/feature.patch")

    @property
    def tests_patch(self) -> bytes:
        """The hidden tests, byte for byte."""
        return _content(f"{self.path}/tests.patch")


def _content(path: str) -> bytes:
    """A file's bytes; those of a small one are remembered as long as it is the same file: every pair asks for them."""
    file = os.stat(path)
    if file.st_size > _SMALL or time.time_ns() - file.st_ctime_ns < _SETTLED:
        return atomic.read_bytes(path)
    return _remembered(path, file.st_ino, file.st_size, file.st_ctime_ns)


@lru_cache(maxsize=64)
def _remembered(path: str, *version: int) -> bytes:
    del version
    return atomic.read_bytes(path)


_SMALL = 128 * 1024
_SETTLED = 1_000_000_000
"""Nanoseconds: within the grain of a file system's clock, a file may change twice and its times once."""


@dataclass(frozen=True, slots=True)
class Task:
    """One repository at one commit, with the features asked of it."""

    repo: str
    """Repository name as the dataset spells it, ``…_task``."""
    task_id: int
    path: Path
    features: Mapping[int, Feature]
    """By number, ascending."""
    image: str
    """Image reference, from the dataset's template."""
    network: Network | None = None
    """What judging needs, as the dataset declares; None leaves it to the backend."""
    recipe: Recipe | None = None
    """How to build the image where it cannot be pulled."""

    @property
    def name(self) -> str:
        """``repo/task_id``, for people."""
        return f"{self.repo}/{self.task_id}"


@dataclass(frozen=True, slots=True, order=True)
class Pair:
    """Features of one task that one trial puts together; two by name, N in fact. Always ascending."""

    repo: str
    task_id: int
    features: tuple[int, ...]

    @property
    def key(self) -> str:
        """``f1_f2``: the trial's directory name."""
        return "_".join(f"f{n}" for n in self.features)

    @property
    def name(self) -> str:
        """``repo/task_id/f1,f2``: as summaries write it."""
        return f"{self.repo}/{self.task_id}/{','.join(map(str, self.features))}"


@dataclass(frozen=True, slots=True)
class Subset:
    """A named list of pairs."""

    name: str
    description: str
    pairs: tuple[Pair, ...]


@dataclass(frozen=True, slots=True)
class Dataset:
    """A whole dataset, read."""

    root: Path
    tasks: Mapping[tuple[str, int], Task]
    """By (repo, task_id), ascending."""

    def task(self, repo: str, task_id: int) -> Task:
        """One task.

        Raises:
            DatasetError: there is none of that name; the message lists what exists.
        """
        from cooperbench.errors import DatasetError

        found = self.tasks.get((repo, task_id))
        if found is None:
            ids = [str(t) for r, t in self.tasks if r == repo]
            known = (
                f"its tasks are {', '.join(ids)}"
                if ids
                else f"repositories: {', '.join(sorted({r for r, _ in self.tasks}))}"
            )
            raise DatasetError(f"no task {repo}/{task_id} in {self.root}; {known}")
        return found
