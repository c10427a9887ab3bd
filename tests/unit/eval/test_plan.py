"""The Job: pure, complete, the same for the same inputs."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from cooperbench.dataset.model import Feature, Pair, Task
from cooperbench.errors import UsageError
from cooperbench.eval.plan import Plan, Rules, judge_program, plan_merges, plan_trial

PATCH = b"--- a/x.py\n+++ b/x.py\n@@ -1 +1 @@\n-a\n+b\r\n"
TESTS = b"--- /dev/null\n+++ b/tests/test_x.py\n@@ -0,0 +1 @@\n+t\n"


@pytest.fixture
def task(tmp_path: Path) -> Task:
    features = {}
    for n in (1, 2, 10):
        folder = tmp_path / f"feature{n}"
        folder.mkdir()
        (folder / "feature.patch").write_bytes(PATCH)
        (folder / "tests.patch").write_bytes(TESTS.replace(b"test_x", b"test_%d" % n))
        features[n] = Feature(n, folder)
    return Task("x_task", 0, tmp_path, features, "image:1", network="none")


def plan(task: Task, patches: dict[int, bytes], **options: object) -> Plan:
    pair = Pair("x_task", 0, tuple(sorted(patches)))
    return plan_trial(task, pair, patches, "coop", Rules(), **options)  # type: ignore[arg-type]


def test_patches_reach_the_judge_byte_for_byte_in_feature_order(task: Task) -> None:
    job = plan(task, {10: PATCH, 2: PATCH + b"\x80"}).job
    inputs = {path.rpartition("/in/")[2]: content for path, content in job.files.items() if "/in/" in path}
    assert inputs["patch.1"] == PATCH + b"\x80"
    assert inputs["patch.2"] == PATCH
    assert inputs["tests.1/tests.patch"] == TESTS.replace(b"test_x", b"test_2")
    assert inputs["tests.2/tests.patch"] == TESTS.replace(b"test_x", b"test_10")
    assert job.image == "image:1"
    assert job.network == "none"


def test_the_job_is_pure_and_its_place_depends_on_the_hidden_tests(task: Task) -> None:
    one, two = plan(task, {1: PATCH, 2: b""}), plan(task, {2: b"", 1: PATCH})
    assert one == two
    other = plan(task, {1: PATCH, 10: b""})
    assert one.job.results != other.job.results


@pytest.mark.parametrize(
    "change",
    [{"timeout": 61}, {"alone": True}, {"image_digest": "sha256:1"}],
    ids=["timeout", "alone", "image"],
)
def test_every_input_is_in_the_seal(task: Task, change: dict[str, object]) -> None:
    usual = plan(task, {1: PATCH, 2: PATCH}, timeout=60)
    assert plan(task, {1: PATCH, 2: PATCH}, **{"timeout": 60, **change}).inputs != usual.inputs
    assert plan(task, {1: PATCH + b"\n", 2: PATCH}, timeout=60).inputs != usual.inputs
    (task.features[2].path / "tests.patch").write_bytes(TESTS)
    assert plan(task, {1: PATCH, 2: PATCH}, timeout=60).inputs != usual.inputs


def test_an_agents_tests_are_left_out_and_said_so(task: Task) -> None:
    found = plan(task, {1: PATCH + TESTS.replace(b"test_x", b"test_2"), 2: PATCH})
    assert found.dropped == {"agent1": ("tests/test_2.py",)}
    assert next(v for k, v in found.job.files.items() if k.endswith("/in/patch.1")) == PATCH


@pytest.mark.parametrize("seconds", [0, -1, float("nan"), float("inf"), 10**9])
def test_senseless_limits_are_refused(task: Task, seconds: float) -> None:
    with pytest.raises(UsageError, match="time limit"):
        plan(task, {1: PATCH, 2: PATCH}, timeout=seconds)


def test_unknown_rules_are_refused() -> None:
    with pytest.raises(UsageError, match="unknown merge rule 'octopus'; there are git, union"):
        Rules(merge="octopus")
    with pytest.raises(UsageError, match="unknown integrity rule"):
        Rules(integrity="trust")


def test_the_judge_is_posix_shell(tmp_path: Path) -> None:
    program = tmp_path / "judge.sh"
    program.write_bytes(judge_program())
    shellcheck = shutil.which("shellcheck", path=f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    assert shellcheck, "shellcheck comes with the test extra"
    subprocess.run([shellcheck, "-s", "sh", str(program)], check=True)
    assert judge_program().splitlines()[-1] == b'main "$@"; exit 0'


def test_merges_of_a_task_are_one_job(task: Task) -> None:
    job = plan_merges(task, [PATCH, b"", PATCH])
    assert job.command[-1] == "pairs"
    assert sum("/in/patch." in name for name in job.files) == 3
