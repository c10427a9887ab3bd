"""The same Jobs on the embedded sandbox and on gcp: the same Verdicts."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from cooperbench.dataset import Dataset
from cooperbench.errors import JudgeError
from cooperbench.eval.backends.base import EvalBackend
from cooperbench.eval.backends.batch import Outcome, Work
from cooperbench.eval.job import JobOutput
from cooperbench.eval.judging import judge_output, plan_of
from cooperbench.eval.plan import Plan
from cooperbench.eval.sources import ready_image
from cooperbench.runs import RunDirectory, TrialDirectory
from tests.gcp import batches, clouds
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


@pytest.fixture(scope="module")
def batched(
    only_cloud: Cloud,
    tmp_path_factory: pytest.TempPathFactory,
    cases: Mapping[str, parity.Asked],
    datasets: dict[str, Dataset],
) -> Verdicts:
    """All of them in one job."""
    trials: dict[str, tuple[TrialDirectory, Plan]] = {}
    for name, asked in cases.items():
        trial = RunDirectory(tmp_path_factory.mktemp("logs"), "parity").trial(asked.setting, asked.pair)
        dataset = datasets[asked.task[0]]
        for feature, patch in asked.handed_in(dataset).items():
            trial.write_patch(feature, patch)
        trials[name] = trial, plan_of(dataset.task(*asked.task), trial, asked.judging, None)
    works = [Work(name, plan.job.image, lambda plan=plan: plan.job) for name, (_, plan) in trials.items()]
    with clouds.backend_on(only_cloud) as backend:
        outcomes = batches.done(backend, works, batches.wishes())
    return {name: _judged(backend, *trials[name], outcomes[name]) for name in cases}


def _judged(backend: EvalBackend, trial: TrialDirectory, plan: Plan, outcome: Outcome) -> Mapping[str, Any]:
    assert isinstance(outcome, JobOutput), outcome
    try:
        return parity.comparable(judge_output(backend, trial, plan, outcome))
    except JudgeError as error:
        return {"judge error": str(error)}


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


@pytest.mark.parametrize("name", parity.NAMES)
def test_a_batch(name: str, here: Verdicts, batched: Verdicts, cases: Mapping[str, parity.Asked]) -> None:
    assert batched[name] == here[name]
    parity.expect(batched[name], cases[name])
