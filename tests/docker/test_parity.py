"""The same Jobs on the embedded sandbox and on Docker: the same Verdicts, field by field but for time and place."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import pytest

from cooperbench.dataset import Dataset, Pair
from cooperbench.errors import JudgeError
from cooperbench.eval.backends.docker import DockerBackend
from cooperbench.eval.backends.local import LocalBackend
from cooperbench.eval.judging import Judging, judge
from cooperbench.eval.sources import ready_image
from tests.docker import engines
from tests.judging import parity
from tests.judging.project import Project


@pytest.fixture(scope="module")
def local() -> Iterator[LocalBackend]:
    backend = LocalBackend()
    yield backend
    backend.close()


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    return Project(tmp_path_factory.mktemp("parity") / "repo")


@pytest.fixture(scope="module")
def datasets(tmp_path_factory: pytest.TempPathFactory, project: Project) -> dict[str, Dataset]:
    return parity.datasets(tmp_path_factory.mktemp("paritysums"), project)


@pytest.mark.parametrize("name", parity.NAMES)
def test_the_same_verdict(
    name: str, local: LocalBackend, backend: DockerBackend, project: Project, datasets: dict[str, Dataset]
) -> None:
    asked = parity.cases(project)[name]
    dataset = datasets[asked.task[0]]
    for each in (local, backend):
        ready_image(each, dataset.task(*asked.task))
    here, there = (parity.verdict_of(each, dataset, asked) for each in (local, backend))
    assert there == here
    parity.expect(there, asked)


def test_the_images_that_cannot_be_judged(backend: DockerBackend, datasets: dict[str, Dataset]) -> None:
    """Without git, without runner.sh: the image's fault, and no verdict."""
    task = datasets["todosh_task"].task(*parity.TODO)
    ready_image(backend, task)
    for name, script, said in (
        ("nogit", "rm -f $(command -v git)", "the image has no git"),
        ("norunner", "rm -f /usr/local/bin/runner.sh", "runner.sh"),
    ):
        image = f"cooperbench-test/{name}:1"
        engines.make_image(
            backend, image, {"build.sh": "exit 1\n", "Dockerfile": f"FROM {task.image}\nRUN {script}\n"}
        )
        broken = dataclasses.replace(task, image=image, recipe=None)
        with pytest.raises(JudgeError, match=said):
            judge(backend, broken, Pair(*parity.TODO, (3, 4)), {3: b"", 4: b""}, "coop", Judging(timeout=20))
