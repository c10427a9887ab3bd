"""The same Jobs on the embedded sandbox and on gcp: the same Verdicts."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from cooperbench.dataset import Dataset
from cooperbench.eval.backends.base import EvalBackend
from cooperbench.eval.sources import ready_image
from tests.gcp import clouds
from tests.judging import parity
from tests.judging.project import Project
from tests.loopback.gcp.cloud import Cloud

Verdicts = Mapping[str, Mapping[str, Any]]


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    return Project(tmp_path_factory.mktemp("parity") / "repo")


@pytest.fixture(scope="module")
def cases(project: Project) -> Mapping[str, parity.Asked]:
    found = parity.cases(project)
    assert tuple(found) == parity.NAMES
    return found


@pytest.fixture(scope="module")
def datasets(
    only_cloud: Cloud,
    tmp_path_factory: pytest.TempPathFactory,
    project: Project,
    cases: Mapping[str, parity.Asked],
) -> dict[str, Dataset]:
    """With their images in the loopback cloud's registry, which is the embedded backend's store."""
    made = parity.datasets(tmp_path_factory.mktemp("paritysums"), project)
    for repo, task_id in sorted({asked.task for asked in cases.values()}):
        ready_image(only_cloud.local, made[repo].task(repo, task_id))
    return made


@pytest.fixture(scope="module")
def here(only_cloud: Cloud, cases: Mapping[str, parity.Asked], datasets: dict[str, Dataset]) -> Verdicts:
    return _one_by_one(only_cloud.local, cases, datasets)


@pytest.fixture(scope="module")
def interactive(
    only_cloud: Cloud, cases: Mapping[str, parity.Asked], datasets: dict[str, Dataset]
) -> Verdicts:
    with clouds.backend_on(only_cloud) as backend:
        return _one_by_one(backend, cases, datasets)


def _one_by_one(
    backend: EvalBackend, cases: Mapping[str, parity.Asked], datasets: dict[str, Dataset]
) -> dict[str, dict[str, Any]]:
    def judged(asked: parity.Asked) -> dict[str, Any]:
        return parity.verdict_of(backend, datasets[asked.task[0]], asked)

    with ThreadPoolExecutor(2) as pool:
        return dict(zip(cases, pool.map(judged, cases.values()), strict=True))


@pytest.mark.parametrize("name", parity.NAMES)
def test_sandboxes(
    name: str, here: Verdicts, interactive: Verdicts, cases: Mapping[str, parity.Asked]
) -> None:
    assert interactive[name] == here[name]
    parity.expect(interactive[name], cases[name])
