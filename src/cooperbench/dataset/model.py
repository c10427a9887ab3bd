"""Task, Feature, Pair, Subset: what a dataset is made of, as plain values. `layout` reads them from disk."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

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
        return (self.path / "feature.md").read_text(encoding="utf-8", errors="replace")

    @property
    def gold_patch(self) -> bytes:
        """The reference solution, byte for byte."""
        return (self.path / "feature.patch").read_bytes()

    @property
    def tests_patch(self) -> bytes:
        """The hidden tests, byte for byte."""
        return (self.path / "tests.patch").read_bytes()


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
