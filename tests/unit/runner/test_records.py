"""What a trial leaves on disk: the keys scripts of earlier releases read, unknown figures as null."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from cooperbench.agents.base import AgentResult, Assignment
from cooperbench.collaboration import Bus, BusMailbox
from cooperbench.collaboration.turns import Turns
from cooperbench.runner.records import agent_record, conversation, trajectory
from cooperbench.runner.repository import Taken
from cooperbench.runner.seat import Work


def assignment(setting: str = "coop") -> Assignment:
    share = (3,) if setting == "coop" else (3, 5)
    return Assignment("agent1", ("agent2",), "r_task", 0, share, (3, 5), setting, "", Path())


def test_an_agent() -> None:
    work = Work(AgentResult(steps=2), Taken(b"a\nb\n", ("vendor/",), None), 1.23456)
    assert agent_record(assignment(), work) == {
        "feature_id": 3,
        "status": "Submitted",
        "cost": None,
        "steps": 2,
        "input_tokens": None,
        "output_tokens": None,
        "cache_read_tokens": None,
        "cache_write_tokens": None,
        "patch_lines": 2,
        "error": None,
        "seconds": 1.235,
        "left_out": ["vendor/"],
    }
    assert agent_record(assignment("solo"), work)["feature_id"] == [3, 5]
    lost = Work(AgentResult(), Taken(b"", problem="the base commit is gone"), 0)
    assert agent_record(assignment(), lost)["error"] == "the base commit is gone"


def test_a_trajectory() -> None:
    work = Work(AgentResult(messages=({"command": "ls"},), cost=0.5), Taken(b""), 1)
    written = trajectory(assignment(), work, "a model")
    keys = "repo task_id feature_id agent_id model status cost steps messages"
    assert list(written) == keys.split()
    assert written["messages"] == [{"command": "ls"}]


@pytest.mark.parametrize("messages", [[{"a": {1}, ("b",): b"\xff"}, float("nan"), Path("x")], object(), None])
def test_a_transcript_that_is_not_json_is_kept_as_far_as_it_goes(messages: Any) -> None:
    work = Work(AgentResult(messages=messages), Taken(b""), 1)
    written = trajectory(assignment(), work, None)["messages"]
    assert json.loads(json.dumps(written, allow_nan=False)) == written
    assert written


def test_a_conversation() -> None:
    bus = Bus(["agent1", "agent2"], turns=Turns(lambda: 1.0))
    BusMailbox(bus, "agent2").send("agent1", "hello")
    assert conversation(bus.journal(), {"agent1": 3, "agent2": 5}) == [
        {
            "from": "agent2",
            "to": "agent1",
            "message": "hello",
            "timestamp": "1970-01-01T00:00:01+00:00",
            "feature_id": 5,
            "broadcast": False,
        }
    ]
