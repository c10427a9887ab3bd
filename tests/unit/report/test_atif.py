"""ATIF: what the format allows, and nothing of a transcript lost on the way."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cooperbench.report.atif import trajectory

RESULT: dict[str, Any] = {
    "repo": "a_task", "task_id": 0, "features": [1, 2], "setting": "team", "run_id": "0a1b2c3d", "run_name": "r",
    "agent_framework": "mini", "model": "some/model",
    "agents": {
        "agent1": {"feature_id": 1, "status": "Submitted", "cost": 0.5, "input_tokens": 70, "output_tokens": 7,
                   "cache_read_tokens": None, "team_role": "lead"},
        "agent2": {"feature_id": 2, "status": "Submitted", "cost": None, "input_tokens": None},
    },
}  # fmt: skip
AT = "2026-01-02T03:04:05+00:00"
AGENT_ONLY = {"model_name", "reasoning_content", "tool_calls", "metrics", "reasoning_effort"}
OF_A_STEP = {"step_id", "timestamp", "source", "message", "observation", "extra"} | AGENT_ONLY


def check(made: dict[str, Any]) -> list[dict[str, Any]]:
    """What the format demands of a trajectory; its steps."""
    assert json.loads(json.dumps(made, allow_nan=False)) == made
    assert set(made) == {"schema_version", "session_id", "agent", "steps", "final_metrics", "extra"}
    assert set(made["agent"]) <= {"name", "version", "model_name", "tool_definitions", "extra"}
    totals = {"prompt_tokens", "completion_tokens", "cached_tokens", "cost_usd", "steps"}
    assert set(made["final_metrics"]) <= {f"total_{name}" for name in totals}
    for name, figure in made["final_metrics"].items():
        assert type(figure) is int or name == "total_cost_usd"
    steps: list[dict[str, Any]] = made["steps"]
    assert [step["step_id"] for step in steps] == list(range(1, len(steps) + 1))
    for step in steps:
        assert set(step) <= OF_A_STEP
        assert step["source"] in ("system", "user", "agent")
        assert isinstance(step["message"], str)
        assert step["source"] == "agent" or not set(step) & AGENT_ONLY
        for name, figure in step.get("metrics", {}).items():
            assert type(figure) is int or name == "cost_usd"
        assert "timestamp" not in step or datetime.fromisoformat(step["timestamp"])
        calls = [call["tool_call_id"] for call in step.get("tool_calls", ())]
        for call in step.get("tool_calls", ()):
            assert set(call) == {"tool_call_id", "function_name", "arguments"}
            assert isinstance(call["arguments"], dict)
        for seen in step.get("observation", {}).get("results", ()):
            assert seen["source_call_id"] in calls
    return steps


def event(agent: str, entry: Any) -> dict[str, Any]:
    return {"timestamp": AT, "agent": agent, "kind": "step", "entry": entry}


def on_bus(agent: str, kind: str, **details: Any) -> dict[str, Any]:
    return {"timestamp": AT, "agent": agent, "kind": kind, "details": details}


def test_a_chat_a_command_and_the_bus() -> None:
    made = trajectory(
        RESULT,
        "agent1",
        [
            on_bus("agent1", "start"),
            event("agent1", {"role": "system", "content": "be good"}),
            event("agent1", {"role": "user", "content": [{"type": "text", "text": "build it"}]}),
            event("agent1", {
                "role": "assistant", "content": "looking", "reasoning_content": "hm", "cost": 0.25, "input_tokens": 9,
                "output_tokens": 2,
                "tool_calls": [{"id": "c1", "function": {"name": "bash", "arguments": '{"command": "ls"}'}}],
            }),
            event("agent1", {"role": "tool", "tool_call_id": "c1", "content": "file"}),
            event("agent2", {"role": "assistant", "content": "not mine"}),
            on_bus("agent2", "message", to="agent1", text="hello", broadcast=False),
            on_bus("agent2", "message", to="agent3", text="not for me", broadcast=False),
            on_bus("agent1", "task", action="claim", task_id=1),
            event("agent1", {"command": "make", "exit_code": 2, "stdout": "o", "stderr": "e"}),
            event("agent1", {"anything": [1, 2]}),
        ],
    )  # fmt: skip
    steps = check(made)
    assert [(step["source"], step["message"]) for step in steps] == [
        ("system", "bus: start"), ("system", "be good"), ("user", "build it"), ("agent", "looking"),
        ("user", "hello"), ("system", "bus: task"), ("agent", ""), ("system", ""),
    ]  # fmt: skip
    thought = steps[3]
    assert thought["reasoning_content"] == "hm"
    assert thought["metrics"] == {"prompt_tokens": 9, "completion_tokens": 2, "cost_usd": 0.25}
    assert thought["tool_calls"][0]["arguments"] == {"command": "ls"}
    assert thought["observation"]["results"] == [{"source_call_id": "c1", "content": "file"}]
    assert steps[4]["extra"] == {"from": "agent2"}
    assert steps[5]["extra"] == {"kind": "task", "details": {"action": "claim", "task_id": 1}}
    assert steps[6]["observation"]["results"][0]["content"] == "oe"
    assert steps[6]["extra"] == {"exit_code": 2}
    assert steps[7]["extra"] == {"entry": {"anything": [1, 2]}}
    assert made["agent"]["extra"] == {"agent_id": "agent1", "role": "lead", "feature": 1}
    assert made["final_metrics"] == {
        "total_prompt_tokens": 70, "total_completion_tokens": 7, "total_cost_usd": 0.5, "total_steps": 8
    }  # fmt: skip


def test_what_is_not_known_is_left_out() -> None:
    made = trajectory(RESULT, "agent2", [])
    assert check(made) == []
    assert made["final_metrics"] == {"total_steps": 0}
    solo = {**RESULT, "agent": {"feature_id": [1, 2], "status": "Submitted"}, "agents": None}
    assert trajectory(solo, "agent1", [])["agent"]["extra"]["feature"] == [1, 2]


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
KEYS = [
    "role",
    "content",
    "tool_calls",
    "tool_call_id",
    "command",
    "stdout",
    "output",
    "reasoning_content",
    "cost",
    "input_tokens",
    "cache_read_tokens",
]
ENTRY = st.dictionaries(
    st.sampled_from(KEYS), JSON | st.sampled_from(["assistant", "tool", "user"]), max_size=6
)


@settings(deadline=None)
@given(st.lists(ENTRY | JSON, max_size=6))
def test_any_transcript_comes_out(entries: list[Any]) -> None:
    assert len(check(trajectory(RESULT, "agent1", [event("agent1", entry) for entry in entries]))) <= len(
        entries
    )


@pytest.mark.parametrize(
    "damage",
    [
        {},
        {"agents": 7},
        {"agents": {"agent1": None}},
        {"features": None},
        {"agents": {"agent1": {"input_tokens": 1.5, "output_tokens": "7", "cost": True}}},
    ],
)
def test_any_result_comes_out(damage: dict[str, Any]) -> None:
    check(trajectory({**RESULT, **damage} if damage else {}, "agent1", [event("agent1", "x")]))
