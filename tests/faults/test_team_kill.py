"""kill -9 in the middle of a team's work: the trial is repeated from its beginning, nothing of the first is in it."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from pathlib import Path

from cooperbench.dataset.model import Pair
from cooperbench.runs import RunDirectory
from tests.faults.team_driver import FEATURES, NAME

ROOT = Path(__file__).parents[2]
ONCE = ("start", "note", "push", "message", "read", "fetch", "finish", "command")


def begin(logs: Path, *hold: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "tests.faults.team_driver", str(logs), *hold]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_a_killed_trial_is_repeated_whole(tmp_path: Path) -> None:
    trial = RunDirectory(tmp_path, NAME).trial("team", Pair("almanac_task", 12, FEATURES))
    with begin(tmp_path, "hold") as first:
        assert first.stdout is not None
        assert first.stdout.readline() == "middle\n", first.communicate()[1]
        first.kill()
    assert trial.read_result() is None
    assert trial.read_events() == []

    with begin(tmp_path) as second:
        _, errors = second.communicate(timeout=280)
    assert second.returncode == 0, errors
    result = trial.read_result() or {}
    assert result["error"] is None
    assert result["metrics"]["tasks_total"] == 2
    assert sum(result["metrics"]["claims_per_agent"].values()) == 2
    events = trial.read_events()
    happened = Counter((event["agent"], event["kind"]) for event in events if event["kind"] != "task")
    assert happened == {(agent, kind): 1 for agent in ("agent1", "agent2") for kind in ONCE}
    assert [entry["message"] for entry in trial.read_conversation()] == ["pushed", "pushed"]
    assert all(result["started_at"] < event["timestamp"] < result["ended_at"] for event in events)
    assert set(trial.read_patches()) == set(FEATURES)
