"""The same Jobs on the embedded sandbox and on Modal: the same Verdicts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import pytest

from cooperbench.dataset import Dataset
from cooperbench.eval.backends.local import LocalBackend
from cooperbench.eval.backends.modal import ModalBackend
from cooperbench.eval.sources import ready_image
from tests.judging import parity
from tests.judging.project import Project


@pytest.fixture(scope="module")
def local() -> Iterator[LocalBackend]:
    backend = LocalBackend()
    yield backend
    backend.close()


@pytest.fixture(scope="module")
def cases(project: Project) -> Mapping[str, parity.Asked]:
    found = parity.cases(project)
    assert tuple(found) == parity.NAMES
    return found


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    return Project(tmp_path_factory.mktemp("parity") / "repo")


@pytest.fixture(scope="module")
def datasets(tmp_path_factory: pytest.TempPathFactory, project: Project) -> dict[str, Dataset]:
    return parity.datasets(tmp_path_factory.mktemp("paritysums"), project)


@pytest.mark.parametrize("name", parity.NAMES)
def test_the_same_verdict(
    name: str,
    local: LocalBackend,
    shared: ModalBackend,
    cases: Mapping[str, parity.Asked],
    datasets: dict[str, Dataset],
) -> None:
    asked = cases[name]
    dataset = datasets[asked.task[0]]
    for backend in (local, shared):
        ready_image(backend, dataset.task(*asked.task))
    here, there = (parity.verdict_of(backend, dataset, asked) for backend in (local, shared))
    assert there == here
    parity.expect(there, asked)
