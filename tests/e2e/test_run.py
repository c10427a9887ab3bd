"""`run` as a program calls it: the bundled dataset, sandboxes of this machine, no model."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import cooperbench
from cooperbench import evaluate
from cooperbench.dataset.model import Pair
from cooperbench.errors import RunConflict, UsageError
from cooperbench.eval import backends
from cooperbench.events import Judged, RunFinished, RunStarted, TrialFinished, TrialStarted
from cooperbench.runs import RunDirectory
from tests.e2e.demo_runs import DEMO, EXPECTED, GOLD, ONE, demo, files, outcomes, trial

# ------------------------------------------------------------------------------------ what comes out


def test_scripts_talk_and_come_out_as_recorded(logs: Path) -> None:
    summary, events = demo(logs)
    assert outcomes(summary) == EXPECTED
    assert summary["messages_sent"] > len(EXPECTED)
    place = trial(logs)
    assert set(place.read_patches()) == {1, 2}
    spoken = place.read_conversation()
    assert {entry["from"] for entry in spoken} == {"agent1", "agent2"}
    assert [entry["timestamp"] for entry in spoken] == sorted(entry["timestamp"] for entry in spoken)
    assert {entry["from"]: entry["feature_id"] for entry in spoken} == {"agent1": 1, "agent2": 2}
    result = place.read_result() or {}
    head = {"repo": "almanac_task", "task_id": 12, "features": [1, 2], "setting": "coop", "run_name": "demo"}
    assert head.items() <= result.items()
    assert len(result["run_id"]) == 8
    assert result["agents"]["agent2"]["feature_id"] == 2
    assert result["agents"]["agent1"]["status"] == "Submitted"
    assert result["agents"]["agent1"]["input_tokens"] is None
    assert result["agents"]["agent1"]["patch_lines"] == (place.read_patches()[1]).count(b"\n")
    assert result["messages_sent"] == len(spoken)
    trajectory = place.read_trajectory(1) or {}
    assert trajectory["agent_id"] == "agent1"
    assert trajectory["messages"][0]["exit_code"] == 0
    kinds = [type(event) for event in events]
    assert kinds[0] is RunStarted
    assert kinds[-1] is RunFinished
    assert kinds.count(TrialStarted) == kinds.count(TrialFinished) == kinds.count(Judged) == len(EXPECTED)
    assert events[-1].summary == summary
    written = json.loads((logs / "demo" / "summary.json").read_text())
    assert written == summary
    judged = json.loads((logs / "demo" / "eval_summary.json").read_text())
    assert {line["run"] for line in judged["results"]} == set(EXPECTED)


def test_gold_together(logs: Path) -> None:
    summary, _ = demo(logs, agent="gold", subset="full")
    assert outcomes(summary) == GOLD


def test_gold_alone(logs: Path) -> None:
    summary, _ = demo(logs, agent="gold", setting="solo", **ONE)
    assert summary["eval"]["passed"] == 1
    place = trial(logs, setting="solo")
    assert sorted(file.name for file in place.path.iterdir() if file.suffix in (".json", ".patch")) == [
        "eval.json",
        "result.json",
        "solo.patch",
        "solo_traj.json",
    ]
    result = place.read_result() or {}
    assert "agents" not in result
    assert "messages_sent" not in result
    assert result["agent"]["feature_id"] == [1, 2]


@pytest.mark.parametrize("setting", ["coop", "solo"])
def test_doing_nothing_fails_and_is_no_error(logs: Path, setting: str) -> None:
    summary, _ = demo(logs, agent="noop", setting=setting, **ONE)
    assert summary["eval"]["failed"] == 1
    assert summary["eval"]["errors"] == 0


def test_one_feature_alone(logs: Path) -> None:
    summary, _ = demo(logs, agent="gold", setting="solo", repo="almanac_task", features=[3])
    assert summary["eval"]["passed"] == 1
    with pytest.raises(UsageError):
        demo(logs, agent="gold", setting="coop", repo="almanac_task", features=[3])


def test_three_together(logs: Path) -> None:
    summary, _ = demo(logs, agent="gold", repo="gridline_task", features=[4, 1, 3])
    assert [line["task"] for line in summary["results"]] == ["gridline_task/3/1,3,4"]
    result = trial(logs, pair=Pair("gridline_task", 3, (1, 3, 4))).read_result() or {}
    assert [agent["feature_id"] for agent in result["agents"].values()] == [1, 3, 4]


def test_without_messages(logs: Path) -> None:
    with_coop = "if command -v coop; then coop send agent2 x; else exit 0; fi"
    script = logs.parent / "talk.sh"
    script.write_text(with_coop)
    summary, _ = demo(logs, agent_config=script, messaging_enabled=False, auto_eval=False, **ONE)
    assert summary["completed"] == 1
    assert summary["messages_sent"] == 0


# ------------------------------------------------------------------------------------ going on


def test_a_finished_run_is_left_alone(logs: Path) -> None:
    first, _ = demo(logs)
    before = files(logs)
    second, events = demo(logs)
    assert files(logs) == before
    assert [event.status for event in events if isinstance(event, TrialFinished)] == ["skip"] * len(EXPECTED)
    assert same(first) == same(second)


def same(summary: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in summary.items() if key != "completed_at"}


def test_the_summary_is_the_whole_runs(logs: Path) -> None:
    """IO5: after a resume the file said what the last invocation had done."""
    demo(logs, agent="gold", **ONE)
    summary, _ = demo(logs, agent="gold", repo="almanac_task", features=[1, 4])
    assert summary["total_tasks"] == 2
    assert {line["task"] for line in summary["results"]} == {"almanac_task/12/1,2", "almanac_task/12/1,4"}
    config = RunDirectory(logs, "demo").read_config() or {}
    assert config["total_tasks"] == 2
    assert len(config["selections"]) == 2


def test_what_is_half_done_is_done_again(logs: Path) -> None:
    """IO2, IO3: truncated files."""
    demo(logs, agent="gold", repo="almanac_task")
    for number, damage in ((2, "result.json"), (3, "eval.json")):
        path = trial(logs, pair=Pair("almanac_task", 12, (1, number))).path / damage
        path.write_bytes(path.read_bytes()[:25])
    kept = trial(logs, pair=Pair("almanac_task", 12, (1, 4))).path
    before = {file.name: file.stat().st_mtime_ns for file in kept.iterdir()}
    (trial(logs).path / "left.over").touch()
    summary, events = demo(logs, agent="gold", repo="almanac_task")
    assert summary["eval"]["pending"] == summary["eval"]["errors"] == 0
    assert [event.pair.features for event in events if isinstance(event, TrialStarted)] == [(1, 2)]
    assert not (trial(logs).path / "left.over").exists()
    assert {file.name: file.stat().st_mtime_ns for file in kept.iterdir()} == before


def test_force_runs_again(logs: Path) -> None:
    demo(logs, agent="gold", **ONE)
    before = (trial(logs).path / "result.json").stat().st_mtime_ns
    demo(logs, agent="gold", force=True, **ONE)
    assert (trial(logs).path / "result.json").stat().st_mtime_ns != before


def test_judging_later(logs: Path) -> None:
    summary, events = demo(logs, agent="gold", auto_eval=False, **ONE)
    assert summary["eval"]["pending"] == 1
    assert not any(isinstance(event, Judged) for event in events)
    assert evaluate("demo", backend="local", dataset_dir=DEMO, logs_dir=logs)["pending"] == 0


def test_another_experiment_under_the_same_name(logs: Path) -> None:
    """IO6: another setting or model under one name mixed results silently."""
    demo(logs, agent="gold", **ONE)
    before = files(logs)
    with pytest.raises(RunConflict, match="setting was 'coop', is now 'solo'"):
        demo(logs, agent="gold", setting="solo", **ONE)
    with pytest.raises(RunConflict, match="agent_framework was 'gold', is now 'noop'"):
        demo(logs, agent="noop", **ONE)
    with pytest.raises(RunConflict, match="merge"):
        demo(logs, agent="gold", merge_rule="union", **ONE)
    demo(logs, agent="gold", concurrency=1, eval_concurrency=1, **ONE)
    assert files(logs) == before


def test_the_configuration_says_how_to_repeat_it(logs: Path) -> None:
    demo(logs, agent="gold", **ONE)
    config = RunDirectory(logs, "demo").read_config() or {}
    assert config["backend"] == "local"
    assert config["versions"][0]["cooperbench"] == cooperbench.__version__
    assert config["rules"] == {"merge": "git", "integrity": "report"}
    assert config["pairs"] == {"almanac_task/12": ["1,2"]}
    (digest,) = config["images"].values()
    assert digest.startswith("sha256:")


def test_one_runner_at_a_time(logs: Path) -> None:
    """IO4: two runners under one name interleaved."""
    demo(logs, agent="gold", **ONE)
    with RunDirectory(logs, "demo").lock(), pytest.raises(RunConflict, match="another process is at work"):
        demo(logs, agent="gold", **ONE)


# ------------------------------------------------------------------------------------ asked for and refused


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"agent": "nobody"}, "agent 'nobody' is unknown; there is mini_swe_agent"),
        ({"setting": "team", "team_without": ["lead"]}, "there are task-list"),
        ({"setting": "duet"}, "unknown setting 'duet'"),
        ({"backend": "nowhere"}, "Unknown backend 'nowhere'"),
        ({"concurrency": 0}, "concurrency must be"),
        ({"agent_timeout": 0}, "agent_timeout"),
        ({"agent_config": "/no/such/file"}, "does not exist"),
        ({"agent": "script", "agent_config": None}, "needs --agent-config"),
        ({"redis_url": "redis://elsewhere:1"}, "has no password"),
        ({"redis_url": "elsewhere"}, "no address of a Redis server"),
        ({"merge_rule": "magic"}, "unknown merge rule"),
        ({"features": [1, 1]}, "feature"),
        ({"features": [1]}, "feature"),
        ({"name": "../x"}, "run name"),
    ],
)
def test_one_line_that_says_what_is_wrong(logs: Path, options: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=said) as caught:
        demo(logs, **{"agent": "gold", **ONE, **options})
    assert "\n" not in str(caught.value)
    assert not logs.exists()


def test_the_default_redis_address_of_old_scripts_is_accepted(logs: Path) -> None:
    summary, _ = demo(logs, agent="gold", redis_url="redis://localhost:6379", auto_eval=False, **ONE)
    assert summary["completed"] == 1


def test_the_order_of_features_means_nothing(logs: Path) -> None:
    """3.8: `-f 2,1` flipped the features in the output."""
    summary, _ = demo(logs, agent="gold", repo="almanac_task", task_id=12, features=[2, 1])
    assert summary["results"][0]["task"] == "almanac_task/12/1,2"
    assert trial(logs).path.is_dir()


def test_task_0_is_a_task(logs: Path) -> None:
    summary, _ = demo(logs, agent="noop", repo="todosh_task", task_id=0, auto_eval=False)
    assert summary["total_tasks"] == 6


def test_a_backend_of_ones_own_put_in_place_of_the_getter(
    logs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As the documentation shows: `backends.get_backend = mine`."""
    original = backends.get_backend
    monkeypatch.setattr(
        backends, "get_backend", lambda name: original("local" if name == "my_backend" else name)
    )
    summary, _ = demo(logs, agent="gold", backend="my_backend", **ONE)
    assert summary["completed"] == 1
    assert (trial(logs).read_result() or {})["backend"] == "my_backend"


def test_nothing_is_printed(logs: Path, capfd: pytest.CaptureFixture[str]) -> None:
    demo(logs, agent="gold", **ONE)
    assert capfd.readouterr() == ("", "")
