"""The same Jobs on the embedded sandbox and on gcp: the same Verdicts."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

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
from tests.loopback.gcp.cloud import Cloud

Verdicts = Mapping[str, Mapping[str, Any]]


@pytest.fixture(scope="module")
def cases(only_cloud: Cloud, parity_cases: parity.Cases) -> parity.Cases:
    """With their images in the cloud's registry, which is an embedded backend's store."""
    for name in parity.NAMES:
        ready_image(only_cloud.local, parity_cases.task(name))
    return parity_cases


@pytest.fixture(scope="module")
def interactive(only_cloud: Cloud, cases: parity.Cases) -> Verdicts:
    with clouds.backend_on(only_cloud) as backend, ThreadPoolExecutor(2) as pool:
        verdicts = pool.map(lambda name: cases.verdict(backend, name), parity.NAMES)
        return dict(zip(parity.NAMES, verdicts, strict=True))


@pytest.fixture(scope="module")
def batched(only_cloud: Cloud, tmp_path_factory: pytest.TempPathFactory, cases: parity.Cases) -> Verdicts:
    """All of them in one job."""
    trials: dict[str, tuple[TrialDirectory, Plan]] = {}
    for name, asked in cases.asked.items():
        trial = RunDirectory(tmp_path_factory.mktemp("logs"), "parity").trial(asked.setting, asked.pair)
        for feature, patch in cases.handed_in(name).items():
            trial.write_patch(feature, patch)
        trials[name] = trial, plan_of(cases.task(name), trial, asked.judging, None)
    works = [Work(name, plan.job.image, lambda plan=plan: plan.job) for name, (_, plan) in trials.items()]
    with clouds.backend_on(only_cloud) as backend:
        outcomes = batches.done(backend, works, batches.wishes())
    return {name: _judged(backend, *trials[name], outcomes[name]) for name in parity.NAMES}


def _judged(backend: EvalBackend, trial: TrialDirectory, plan: Plan, outcome: Outcome) -> Mapping[str, Any]:
    assert isinstance(outcome, JobOutput), outcome
    try:
        return parity.comparable(judge_output(backend, trial, plan, outcome))
    except JudgeError as error:
        return {"judge error": str(error)}


@pytest.mark.parametrize("name", parity.NAMES)
def test_sandboxes(name: str, interactive: Verdicts, cases: parity.Cases) -> None:
    cases.expect_the_same(interactive[name], name)


@pytest.mark.parametrize("name", parity.NAMES)
def test_a_batch(name: str, batched: Verdicts, cases: parity.Cases) -> None:
    cases.expect_the_same(batched[name], name)
