"""kill -9 while messages flow: what is resumed is a whole trial of one life, whenever the ones before it ended."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from pathlib import Path

from cooperbench.dataset.model import Pair
from cooperbench.runs import RunDirectory
from tests.faults.driver import in_a_place_of_its_own
from tests.faults.flow_driver import FEATURES, MESSAGES, NAME

ROOT = Path(__file__).parents[2]
AGENTS = ("agent1", "agent2")


def live(logs: Path, *arguments: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "tests.faults.flow_driver", str(logs), *arguments]
    return subprocess.Popen(
        command,
        cwd=ROOT,
        env=in_a_place_of_its_own(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_nothing_of_a_killed_life_is_in_the_next(tmp_path: Path) -> None:
    trial = RunDirectory(tmp_path, NAME).trial("coop", Pair("almanac_task", 12, FEATURES))
    for life, messages in (("one", 1), ("two", MESSAGES // 2), ("three", 2 * MESSAGES - 2)):
        with live(tmp_path, life, str(messages)) as killed:
            assert killed.stdout is not None
            assert killed.stdout.readline() == "flowing\n", killed.communicate()[1]
            killed.kill()
        assert trial.read_result() is None, life
        assert (trial.read_events(), trial.read_conversation(), trial.read_patches()) == ([], [], {}), life

    with live(tmp_path, "last") as resumed:
        _, errors = resumed.communicate()
    assert resumed.returncode == 0, errors
    result = trial.read_result() or {}
    assert (result["error"], result["messages_sent"]) == (None, 2 * MESSAGES)
    said = [(entry["from"], entry["message"]) for entry in trial.read_conversation()]
    for agent in AGENTS:
        wanted = [f"last {agent} {number}" for number in range(1, MESSAGES + 1)]
        assert [text for sender, text in said if sender == agent] == wanted
    events = trial.read_events()
    assert [(e["agent"], e["details"]["text"]) for e in events if e["kind"] == "message"] == said
    read = Counter[str]()
    for event in events:
        if event["kind"] == "read":
            read[event["agent"]] += event["details"]["messages"]
    assert read == dict.fromkeys(AGENTS, MESSAGES)
    assert {event["entry"]["life"] for event in events if event["kind"] == "command"} == {"last"}
    assert all(result["started_at"] < event["timestamp"] < result["ended_at"] for event in events)
    for feature, agent in zip(FEATURES, AGENTS, strict=True):
        patch = trial.read_patches()[feature].decode()
        assert f"+last {MESSAGES} {MESSAGES}\n" in patch
        assert agent in patch
