"""From facts to a verdict, with plain values: what is a fail, what is an error, what is believed."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cooperbench.dataset.model import Feature, Pair, Task
from cooperbench.errors import JudgeError
from cooperbench.eval.facts import read_verdict
from cooperbench.eval.job import JobOutput
from cooperbench.eval.plan import Plan, Rules, plan_trial
from cooperbench.eval.verdict import Verdict

OK = b"test_a (t.T) ... ok\n\n" + b"-" * 70 + b"\nRan 1 test in 0.001s\n\nOK\n"


@pytest.fixture(scope="module")
def plan(tmp_path_factory: pytest.TempPathFactory) -> Plan:
    root = tmp_path_factory.mktemp("task")
    for n in (1, 2):
        (root / f"feature{n}").mkdir()
        (root / f"feature{n}" / "tests.patch").write_bytes(b"")
    task = Task("x_task", 1, root, {n: Feature(n, root / f"feature{n}") for n in (1, 2)}, "image")
    return plan_trial(task, Pair("x_task", 1, (1, 2)), {1: b"", 2: b""}, "coop", Rules(), timeout=9)


def facts(**changes: bytes | None) -> dict[str, bytes]:
    usual = {
        "base": b"0" * 40,
        "apply.1": b"applied\n",
        "apply.2": b"applied\n",
        "merge": b"clean\n",
        "merge.strategy": b"git\n",
        "done": b"yes\n",
    }
    for n in (1, 2):
        usual |= {
            f"tests.{n}.{key}": value
            for key, value in {
                "rc": b"0\n",
                "time": b"12\n",
                "late": b"no\n",
                "state": b"fine\n",
                "log": OK,
            }.items()
        }
    named = {name.replace("__", "."): value for name, value in changes.items()}
    return {name: value for name, value in {**usual, **named}.items() if value is not None}


def judged(
    plan: Plan,
    returncode: int = 0,
    stdout: bytes = b"testing tests.1\n",
    timed_out: bool = False,
    **changes: bytes | None,
) -> Verdict:
    output = JobOutput(facts(**changes), returncode, stdout, b"reason\n", timed_out, {"exec": 1.0})
    return read_verdict(plan, output)[0]


def test_a_pass(plan: Plan) -> None:
    verdict = judged(plan)
    assert verdict.passed
    assert verdict.results[0].seconds == 0.12
    json = verdict.to_json()
    assert json["both_passed"] is True
    assert json["feature2"]["tests_passed"] == 1
    assert json["error"] is None


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"tests__1__rc": b"1\n"}, "status 1"),
        ({"tests__1__rc": b"137\n", "tests__1__late": b"yes\n"}, "within 9 s"),
        ({"tests__1__log": b""}, "no summary"),
        ({"tests__1__state": b"tampered\n"}, "changed the runner"),
        ({"tests__1__state": b"unkillable\n"}, "could not be killed"),
        ({"tests__1__log": b"999 passed\n"}, "no summary"),
    ],
)
def test_fails_have_a_reason(plan: Plan, changes: dict[str, bytes], reason: str) -> None:
    verdict = judged(plan, **changes)
    assert not verdict.passed
    assert reason in verdict.reason
    assert verdict.results[1].passed


def test_tampering_is_an_integrity_finding(plan: Plan) -> None:
    assert [f.kind for f in judged(plan, tests__2__state=b"tampered\n").integrity] == ["run-tampered"]


def test_conflicting_names_are_unquoted(plan: Plan) -> None:
    gone = {f"tests__{n}__{key}": None for n in (1, 2) for key in ("rc", "time", "late", "state", "log")}
    verdict = judged(plan, merge=b"conflicts\n", merge__conflicts=b'"caf\\303\\251.txt"\nb c.txt\n', **gone)
    assert verdict.merge.files == ("café.txt", "b c.txt")
    assert not verdict.passed
    assert verdict.results[0].exit_code is None


@pytest.mark.parametrize("status", [90, 91, 92, 93, 94])
def test_an_image_that_cannot_be_judged_is_an_error(plan: Plan, status: int) -> None:
    with pytest.raises(JudgeError, match="reason"):
        judged(plan, returncode=status, stdout=b"")


@pytest.mark.parametrize("status", [90, 94])
def test_after_tests_have_run_no_status_is_the_infrastructures(plan: Plan, status: int) -> None:
    assert not judged(plan, returncode=status).passed


def test_a_judge_ended_before_any_test_is_an_error(plan: Plan) -> None:
    with pytest.raises(JudgeError, match="status 137"):
        judged(plan, returncode=137, stdout=b"")


@pytest.mark.parametrize(("returncode", "late"), [(137, False), (0, True), (1, False)])
def test_a_judge_ended_during_tests_is_a_fail_and_reported(plan: Plan, returncode: int, late: bool) -> None:
    verdict = judged(plan, returncode=returncode, timed_out=late)
    assert not verdict.passed
    assert not any(r.passed for r in verdict.results)
    assert [f.kind for f in verdict.integrity] == ["judge-ended"]


def test_facts_without_the_last_one_are_not_believed(plan: Plan) -> None:
    assert not judged(plan, done=None).passed


@given(name=st.sampled_from(sorted(facts())), value=st.binary(max_size=40))
def test_hostile_facts_never_crash_and_never_pass_by_accident(plan: Plan, name: str, value: bytes) -> None:
    try:
        verdict = judged(plan, **{name.replace(".", "__"): value})
    except JudgeError:
        return
    assert isinstance(verdict.to_json(), dict)
    if name in ("tests.1.log", "tests.2.log"):
        assert not verdict.passed
