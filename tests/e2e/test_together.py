"""Agents that work together by more than messages: branches, a task list, a scratchpad, and three of them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from cooperbench import run
from cooperbench.cli import main
from cooperbench.dataset import demo_dataset
from cooperbench.dataset.model import Pair
from cooperbench.errors import RunConflict
from cooperbench.runs import RunDirectory, TrialDirectory
from tests.e2e.pushing import push_and_fetch

THREE: dict[str, Any] = {"repo": "gridline_task", "task_id": 3, "features": [1, 2, 3]}
TEAM = """set -eu
case $AGENT_ID in
agent1)
    coop note append "lead: read the tasks, take the next open one"
    for n in 1 2 3 4; do coop task add "part $n"; done
    coop broadcast go
    ;;
*) coop inbox --wait 300 ;;
esac
if [ "$AGENT_ID" != agent3 ]; then
    number=$(coop task claim | cut -d ' ' -f 1)
    coop task update "$number" "begun"
    coop task done "$number" "tests pass"
fi
coop note >>notes.txt
"""


def trial_of(logs: Path, name: str, setting: str) -> TrialDirectory:
    return RunDirectory(logs, name).trial(setting, Pair("gridline_task", 3, (1, 2, 3)))


def scripted(place: Path, script: str, name: str = "team", **options: Any) -> dict[str, Any]:
    path = place / "script.sh"
    path.write_text(script)
    arguments = {**THREE, "setting": "team", "agent": "script", "agent_config": path, "auto_eval": False}
    arguments |= {"backend": "local", "dataset_dir": demo_dataset(), "logs_dir": place / "logs"}
    return run(name, **{**arguments, **options})


def test_one_pushes_the_other_builds_on_it_and_both_pass(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Their reference solutions conflict: without fetching, this pair fails."""
    summary, trial = push_and_fetch("local", tmp_path)
    assert (summary["eval"]["passed"], summary["messages_sent"]) == (1, 2)
    assert (trial.read_verdict() or {})["merge"]["status"] == "identical"
    events = [(event["kind"], event["agent"]) for event in trial.read_events()]
    talk = ["push", "message", "read", "fetch"]
    assert [event for event in events if event[0] in talk] == [
        ("push", "agent1"), ("message", "agent1"), ("read", "agent2"), ("fetch", "agent2"),
        ("push", "agent2"), ("message", "agent2"), ("read", "agent1"), ("fetch", "agent1"),
    ]  # fmt: skip
    where = ["--log-dir", str(tmp_path / "logs")]
    assert main(["show", "pushing", "2,3", "--atif", "agent2", *where]) == 0
    exported = json.loads(capsys.readouterr().out)
    told = "feature 2 is pushed; please build on it and push the whole"
    assert told in [step["message"] for step in exported["steps"] if step["source"] == "user"]
    assert [step["tool_calls"][0]["function_name"] for step in exported["steps"] if "tool_calls" in step] == [
        "bash"
    ]
    for wrong in (["2,3", "--atif", "agent7"], ["--atif", "agent1"]):
        assert main(["show", "pushing", *wrong, *where]) == 2


def test_a_team_and_its_task_list(tmp_path: Path) -> None:
    assert scripted(tmp_path, TEAM)["completed"] == 1
    trial = trial_of(tmp_path / "logs", "team", "team")
    result = trial.read_result() or {}
    assert result["lead_agent"] == "agent1"
    assert [agent["team_role"] for agent in result["agents"].values()] == ["lead", "member", "member"]
    metrics = result["metrics"]
    assert 0 <= metrics.pop("time_to_first_claim_seconds") < result["duration_seconds"]
    assert metrics == {
        "tasks_total": 4,
        "tasks_done": 2,
        "unowned_at_end": 2,
        "claims_per_agent": {"agent1": 1, "agent2": 1, "agent3": 0},
        "updates_per_agent": {"agent1": 1, "agent2": 1, "agent3": 0},
    }
    tasks = json.loads((trial.path / "tasks.json").read_text())
    assert [task["status"] for task in tasks] == ["done", "done", "open", "open"]
    assert {task["owner"] for task in tasks} == {"agent1", "agent2", None}
    log = json.loads((trial.path / "task_log.json").read_text())
    assert [entry["action"] for entry in log][:4] == ["add"] * 4
    assert sorted(entry["action"] for entry in log[4:]) == sorted(["claim", "update", "done"] * 2)
    assert [entry["timestamp"] for entry in log] == sorted(entry["timestamp"] for entry in log)
    assert b"lead: read the tasks" in trial.read_patches()[3]


def test_the_timeline_is_one(tmp_path: Path) -> None:
    scripted(tmp_path, TEAM)
    trial = trial_of(tmp_path / "logs", "team", "team")
    events = trial.read_events()
    assert [event["timestamp"] for event in events] == sorted(event["timestamp"] for event in events)
    kinds = [event["kind"] for event in events]
    assert {"start", "message", "read", "task", "note", "finish", "command"} == set(kinds)
    assert kinds.count("start") == kinds.count("finish") == kinds.count("command") == 3
    said = [event["details"]["text"] for event in events if event["kind"] == "message"]
    assert said == [entry["message"] for entry in trial.read_conversation()] == ["go", "go"]
    assert all(set(event) <= {"timestamp", "agent", "kind", "details", "entry"} for event in events)


def test_a_team_without_some_of_it(tmp_path: Path) -> None:
    script = """
        if coop task list; then exit 7; fi
        if coop ask agent1 x; then exit 8; fi
        coop note append here && coop who >who.txt
    """
    without = ("task-list", "protocol")
    summary = scripted(tmp_path, script, team_without=without)
    assert summary["completed"] == 1
    config = RunDirectory(tmp_path / "logs", "team").read_config() or {}
    assert config["team_without"] == sorted(without)
    result = trial_of(tmp_path / "logs", "team", "team").read_result() or {}
    assert (result["metrics"]["tasks_total"], result["metrics"]["time_to_first_claim_seconds"]) == (0, None)
    with pytest.raises(RunConflict, match="team_without was"):
        scripted(tmp_path, script, team_without=("task-list",))


@pytest.mark.parametrize("setting", ["coop", "solo", "team"])
def test_three_features_in_every_setting(tmp_path: Path, setting: str) -> None:
    summary = scripted(
        tmp_path, "", setting, agent="gold", agent_config=None, setting=setting, auto_eval=True
    )
    trial = trial_of(tmp_path / "logs", setting, setting)
    result, verdict = trial.read_result() or {}, trial.read_verdict() or {}
    assert result["features"] == verdict["features"] == [1, 2, 3]
    assert len(result.get("agents", {"agent1": None})) == (1 if setting == "solo" else 3)
    assert {"feature1", "feature2", "feature3"} <= set(verdict)
    assert summary["eval"]["total_evaluated"] == 1
    assert verdict["passed"] is (setting == "solo")  # their reference solutions conflict
