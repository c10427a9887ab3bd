"""Fixtures: the small project of `project`, judged for real on the embedded sandbox."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import pytest

from cooperbench.dataset.model import Dataset, Pair, Task
from cooperbench.eval.backends.local import LocalBackend
from cooperbench.eval.judging import Judgement, Judging, judge
from cooperbench.eval.sources import ready_image
from tests.judging.project import REPO, Judge, Project, lay_out


@pytest.fixture(scope="session")
def backend() -> Iterator[LocalBackend]:
    backend = LocalBackend()
    yield backend
    backend.close()


@pytest.fixture(scope="session")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    return Project(tmp_path_factory.mktemp("project") / "repo")


@pytest.fixture(scope="session")
def dataset(tmp_path_factory: pytest.TempPathFactory, project: Project) -> Dataset:
    return lay_out(tmp_path_factory.mktemp("sums"), project)


@pytest.fixture(scope="session")
def judged(backend: LocalBackend, dataset: Dataset) -> Judge:
    """``judged({1: patch, 2: patch}, task_id=1)`` → Judgement; one patch under 0 is a solo trial of `features`."""

    def run(
        patches: Mapping[int, bytes],
        *,
        task_id: int = 1,
        features: tuple[int, ...] | None = None,
        judging: Judging | None = None,
        dataset: Dataset = dataset,
    ) -> Judgement:
        task = dataset.task(REPO, task_id)
        pair = Pair(REPO, task_id, features or tuple(sorted(patches)))
        setting = "solo" if 0 in patches else "coop"
        digest = ready_image(backend, task)
        return judge(
            backend, task, pair, patches, setting, judging or Judging(timeout=60), image_digest=digest
        )

    return run


@pytest.fixture
def task(dataset: Dataset) -> Task:
    return dataset.task(REPO, 1)
