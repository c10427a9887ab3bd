"""A task's container image judged on the embedded sandbox and on a real engine: the same Verdicts, image included."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from cooperbench.dataset import Dataset
from cooperbench.errors import SandboxStartError
from cooperbench.eval.backends.docker import DockerBackend
from cooperbench.eval.backends.local import LocalBackend
from cooperbench.eval.backends.local.store.importing import bring
from cooperbench.eval.sources import ready_image
from cooperbench.eval.supply import Supply
from tests.docker import engines
from tests.judging import parity
from tests.judging.project import Project


@pytest.fixture(scope="module")
def docker() -> Iterator[DockerBackend]:
    with engines.docker(network="none") as backend:
        yield backend


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    return Project(tmp_path_factory.mktemp("parity") / "repo")


@pytest.fixture(scope="module")
def datasets(tmp_path_factory: pytest.TempPathFactory, project: Project) -> dict[str, Dataset]:
    return parity.datasets(tmp_path_factory.mktemp("paritysums"), project)


@pytest.mark.parametrize("name", ["clean merge", "conflict"])
def test_the_same_verdict(
    name: str, backend: LocalBackend, docker: DockerBackend, project: Project, datasets: dict[str, Dataset]
) -> None:
    asked = parity.cases(project)[name]
    dataset = datasets[asked.task[0]]
    task = dataset.task(*asked.task)
    digest = ready_image(docker, task)
    if backend.engine().images.digest(task.image) is None:
        (image,) = bring(backend.engine(), f"docker-daemon:{task.image}")
        assert image.digest == digest
    here, there = (parity.verdict_of(each, dataset, asked) for each in (backend, docker))
    assert there == here
    parity.expect(there, asked)


def test_frozen_takes_no_other_image(backend: LocalBackend, datasets: dict[str, Dataset]) -> None:
    task = next(iter(datasets["todosh_task"].tasks.values()))
    supply = Supply(backend, [task], lambda _: None, recorded={})
    digest = supply.ready(task)
    assert digest is not None
    same = Supply(backend, [task], lambda _: None, recorded={task.image: digest}, frozen=True)
    assert same.ready(task) == digest
    other = Supply(backend, [task], lambda _: None, recorded={task.image: "sha256:00"}, frozen=True)
    with pytest.raises(SandboxStartError, match=f"is {digest} now; this run had sha256:00, and --frozen"):
        other.ready(task)
