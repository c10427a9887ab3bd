"""Summaries: the whole run, every trial in exactly one place."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cooperbench.dataset.model import Pair
from cooperbench.runs import RunDirectory, differences, eval_summary, summary

KINDS = ("absent", "half", "error", "agent error", "unjudged", "judge error", "pass", "fail")


def put(run: RunDirectory, pair: Pair, kind: str) -> None:
    trial = run.trial("coop", pair)
    result = {
        "agents": {"agent1": {"status": "Submitted"}},
        "total_cost": 1.5,
        "duration_seconds": 2.0,
        "messages_sent": 3,
    }
    if kind == "absent":
        return
    trial.write_patch(1, b"")
    if kind == "half":
        return
    if kind == "error":
        result["error"] = "no sandbox"
    if kind == "agent error":
        result["agents"] = {"agent1": {"status": "Error", "error": "crashed"}}
    trial.write_result(result)
    if kind in ("pass", "fail"):
        merge = {"status": "clean" if kind == "pass" else "conflicts"}
        trial.write_verdict(
            {"passed": kind == "pass", "both_passed": kind == "pass", "merge": merge, "integrity": [{}]}, {}
        )
    if kind == "judge error":
        trial.write_judge_error("no image")


def config(pairs: list[Pair]) -> dict:
    return {"setting": "coop", "pairs": {"r_task/0": [",".join(map(str, pair.features)) for pair in pairs]}}


@settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(kinds=st.lists(st.sampled_from(KINDS), max_size=12))
def test_they_always_add_up(tmp_path_factory: pytest.TempPathFactory, kinds: list[str]) -> None:
    run = RunDirectory(tmp_path_factory.mktemp("logs"), "run")
    pairs = [Pair("r_task", 0, (1, n + 2)) for n in range(len(kinds))]
    run.write_config(config(pairs))
    for pair, kind in zip(pairs, kinds, strict=True):
        put(run, pair, kind)
    whole, judged = summary(run), eval_summary(run)
    totals = whole["eval"]
    assert (
        totals["passed"] + totals["failed"] + totals["errors"] + totals["pending"]
        == totals["total"]
        == len(kinds)
    )
    assert whole["completed"] + whole["failed"] + whole["pending"] == whole["total_tasks"] == len(kinds)
    assert totals["passed"] == kinds.count("pass")
    assert totals["failed"] == kinds.count("fail")
    assert totals["errors"] == sum("error" in kind for kind in kinds)
    assert totals["conflicts"] == kinds.count("fail")
    assert judged["total_runs"] == len(kinds)
    assert len(whole["results"]) == len(judged["results"]) == len(kinds)


def test_values(tmp_path: Path) -> None:
    run = RunDirectory(tmp_path, "run")
    pairs = [Pair("r_task", 0, (1, n)) for n in range(2, 7)]
    run.write_config(config(pairs))
    for pair, kind in zip(pairs, ("pass", "fail", "agent error", "judge error", "absent"), strict=True):
        put(run, pair, kind)
    whole = summary(run)
    assert whole["pass_rate"] == 0.5
    assert whole["pass_rate_all"] == 0.2
    assert whole["total_cost"] == 6.0
    assert whole["unpriced"] == 1
    assert whole["messages_sent"] == 12
    by_task = {line["task"]: line for line in whole["results"]}
    assert by_task["r_task/0/1,2"]["eval"] == {"both_passed": True, "merge": "clean"}
    assert by_task["r_task/0/1,4"] == {
        "task": "r_task/0/1,4",
        "setting": "coop",
        "status": "error",
        "cost": 1.5,
        "eval": None,
        "error": "agent1: crashed",
    }
    assert by_task["r_task/0/1,6"]["status"] == "pending"
    assert [line["status"] for line in eval_summary(run)["results"]] == [
        "pass",
        "fail",
        "error",
        "error",
        "pending",
    ]


def test_an_old_verdict_of_a_failed_trial_does_not_count(tmp_path: Path) -> None:
    run = RunDirectory(tmp_path, "run")
    put(run, pair := Pair("r_task", 0, (1, 2)), "pass")
    trial = run.trial("coop", pair)
    trial.write_result({"agents": {"agent1": {"status": "Error"}}})
    assert summary(run)["eval"]["passed"] == 0
    assert summary(run)["eval"]["errors"] == 1


def test_nothing_at_all(tmp_path: Path) -> None:
    whole = summary(RunDirectory(tmp_path, "run"))
    assert whole["total_tasks"] == 0
    assert whole["total_cost"] is None
    assert whole["pass_rate"] == 0.0


def test_hostile_configuration(tmp_path: Path) -> None:
    run = RunDirectory(tmp_path, "run")
    for pairs in ([], {"x": 1}, {"r_task/0": ["1,x", 3, None]}, {"/0": ["1,2"]}, {"r_task/y": ["1,2"]}):
        run.write_config({"setting": "coop", "pairs": pairs})
        assert summary(run)["total_tasks"] <= 1


def test_differences_between_experiments() -> None:
    """IO6: another model under the same name."""
    recorded = {
        "model": "a",
        "agent_config": {"path": "x", "sha256": "1"},
        "concurrency": 3,
        "backend": "local",
    }
    assert (
        differences(recorded, {**recorded, "concurrency": 9, "agent_config": {"path": "y", "sha256": "1"}})
        == []
    )
    assert differences(recorded, {"model": "b", "backend": "docker"}) == [
        "model was 'a', is now 'b'",
        "backend was 'local', is now 'docker'",
    ]
    assert differences({}, recorded) == []
