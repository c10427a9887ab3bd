"""Real frameworks, a real coop pair, a scripted model: messages, patches, verdict, figures; recorded and replayed."""

from __future__ import annotations

import json
import os
import re
import shutil
from pathlib import Path
from typing import Any

import pytest

from cooperbench.agents import get_agent
from cooperbench.errors import UsageError
from tests.e2e.models import (
    CALLS,
    SCRIPTS,
    SUBMIT,
    check_together,
    files_of,
    model,
    needs,
    run_pair,
    trial,
    verdict_of,
)
from tests.loopback.models import KEY, Script, tokens


@pytest.mark.parametrize("agent", SCRIPTS)
def test_a_pair_talks_submits_and_passes_and_a_replay_does_it_again_without_a_model(
    agent: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    needs(agent)
    logs = tmp_path / "logs"
    with model(SCRIPTS[agent], monkeypatch) as server:
        first = run_pair("first", agent, logs, server, record=True, git_enabled=True)
        assert len(server.bodies) == 2 * CALLS, first["error"]
    assert first["eval"] == {"both_passed": True, "merge": "clean"}, first["error"]
    check_together(trial(logs, "first"))
    spoken = trial(logs, "first").read_conversation()
    for number in (1, 2):
        messages = (trial(logs, "first").read_trajectory(number) or {})["messages"]
        assert all(isinstance(message["timestamp"], float) for message in messages)
        assert any("coop inbox" in message.get("command", "") for message in messages)
    kept = files_of(trial(logs, "first"))
    assert not [name for name, content in kept.items() if KEY.encode() in content]
    if agent == "gemini_cli":  # whose order of several is left to chance
        assert b"skill-creator" not in kept["calls.agent1.jsonl"]

    monkeypatch.delenv("LOOPBACK_KEY")
    again = run_pair("again", agent, logs, None, replay="first", git_enabled=True)
    assert (again["eval"], again["cost"]) == (first["eval"], first["cost"]), again["error"]
    assert trial(logs, "again").read_patches() == trial(logs, "first").read_patches()
    assert trial(logs, "again").read_conversation() == spoken
    assert verdict_of(trial(logs, "again")) == verdict_of(trial(logs, "first"))


def test_a_replay_that_takes_another_course_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    logs = tmp_path / "logs"
    with model(Script({"agent1": [SUBMIT], "agent2": [SUBMIT]}), monkeypatch) as server:
        run_pair("first", "mini_swe_agent", logs, server, record=True, auto_eval=False)
    place = trial(logs, "first").path / "calls.agent2.jsonl"
    calls = [json.loads(line) for line in place.read_text().splitlines()]
    calls[0]["request"]["messages"][1]["content"] += "Something else."
    place.write_text("".join(f"{json.dumps(call)}\n" for call in calls))
    again = run_pair("again", "mini_swe_agent", logs, None, replay="first", auto_eval=False)
    assert again["status"] == "error"
    assert "agent2: the replay has taken another course: call 1 of agent2" in again["error"]
    with pytest.raises(UsageError, match="no run 'nothing' to replay"):
        run_pair("third", "mini_swe_agent", logs, None, replay="nothing")
    with pytest.raises(UsageError, match="is of agent 'mini_swe_agent', not 'codex'"):
        run_pair("third", "codex", logs, None, replay="first")
    shutil.rmtree(trial(logs, "first").path)
    with pytest.raises(UsageError, match="has no recording of gridline_task/3/1,2"):
        run_pair("third", "mini_swe_agent", logs, None, replay="first")


@pytest.mark.parametrize("agent", ["mini_swe_agent", "codex"])
def test_a_trial_that_has_spent_its_money_ends_as_over_its_limit(
    agent: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    needs(agent)
    endless = Script({name: ["true"] * 50 for name in ("agent1", "agent2")})
    logs = tmp_path / "logs"
    with model(endless, monkeypatch) as server:
        run_pair("dear", agent, logs, server, max_trial_cost=0.004, auto_eval=False)
    result = trial(logs, "dear").read_result() or {}
    assert {record["status"] for record in result["agents"].values()} == {"LimitsExceeded"}
    # Rounded: with two at once it may be a little more or less than half a cent.
    said = {record["error"] for record in result["agents"].values()}
    assert all(re.search(r"the trial has spent \$0\.0[01], more it may not", error) for error in said)
    assert 0.004 <= result["total_cost"] < 0.008
    assert len(server.bodies) < 10


def test_limits_of_the_frameworks_own_configuration(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """mini-swe-agent's YAML: its limits, its templates; the conversation summed up when it gets long."""
    config = tmp_path / "mini.yaml"
    config.write_text(
        "agent:\n  step_limit: 4\n  instance_template: 'You are {{ agent_id }} of {{ agents }}. {{ task }}'\n"
        "compaction:\n  above_tokens: 1050\n  keep_turns: 1\n"
    )
    logs = tmp_path / "logs"
    endless = Script({name: ["echo again"] * 50 for name in ("agent1", "agent2")}, last_word="It is begun.")
    with model(endless, monkeypatch) as server:
        run_pair("short", "mini_swe_agent", logs, server, agent_config=config, auto_eval=False)
    record = (trial(logs, "short").read_result() or {})["agents"]["agent1"]
    assert (record["status"], record["steps"]) == ("LimitsExceeded", 4)
    assert record["error"] == "over its limit of 4 steps"
    ours = [body for body in server.bodies if "You are agent1 of" in json.dumps(body)]
    assert any("will be replaced by what you write now" in json.dumps(body) for body in ours)
    assert any("What happened so far, in your own words" in json.dumps(body) for body in ours)
    # Every call is paid for, those that sum up too.
    assert record["input_tokens"] > sum(tokens(0)[0] for _ in range(4))


def test_a_model_that_fails_is_an_error_with_its_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    logs = tmp_path / "logs"
    with model(Script({}), monkeypatch) as server:
        server.failures = [400] * 20
        line = run_pair("broken", "mini_swe_agent", logs, server, auto_eval=False)
    assert line["status"] == "error"
    assert "not now" in line["error"]
    assert line["cost"] == 0


def test_what_cannot_work_is_refused_before_anything_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    logs = tmp_path / "logs"
    refused: list[tuple[str, dict[str, Any], str]] = [
        ("mini_swe_agent", {}, "OPENAI_API_KEY, which is not set"),
        ("claude_code", {"model_name": "gpt-5"}, "OPENAI_API_KEY, which is not set"),
        ("gold", {"base_url": "http://localhost:1"}, "does not reach its model through the gateway"),
        ("mini_swe_agent", {"base_url": "localhost"}, "not of the form"),
        ("mini_swe_agent", {"record": True, "replay": "x"}, "choose one"),
        ("mini_swe_agent", {"max_calls": 0}, "max_calls must be"),
        ("mini_swe_agent", {"prompts": tmp_path / "none"}, "is not a directory"),
    ]
    for agent, options, told in refused:
        with pytest.raises(UsageError, match=told):
            run_pair("never", agent, logs, None, **options)
    config = tmp_path / "config.json"
    config.write_text('{"verzion": "1"}')
    with pytest.raises(UsageError, match="unknown key 'verzion'"):
        run_pair("never", "codex", logs, None, agent_config=config)
    with pytest.raises(UsageError, match="unknown section 'verzion'"):
        run_pair("never", "mini_swe_agent", logs, None, agent_config=config)
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    with pytest.raises(
        UsageError, match="speaks messages, and model openai/scripted is reached by chat or responses"
    ):
        run_pair("never", "claude_code", logs, None)
    assert not (logs / "never").exists()


def test_importing_the_framework_leaves_this_process_as_it_was(capfd: pytest.CaptureFixture[str]) -> None:
    before = dict(os.environ)
    get_agent("mini_swe_agent").check_config(None)  # type: ignore[attr-defined]
    assert dict(os.environ) == before
    assert capfd.readouterr() == ("", "")


def test_the_key_is_on_no_command_line_and_in_no_sandbox(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """3.10: what the agent can see is a token that is good for its own trial and nothing more."""
    logs = tmp_path / "logs"
    everything = "env; cat /proc/[0-9]*/environ /proc/[0-9]*/cmdline | tr '\\000' ' '"
    commands = [f"{everything}; grep -r {KEY[:6]} /tmp /root /etc /var || true", SUBMIT]
    with model(Script({"agent1": commands, "agent2": commands}), monkeypatch) as server:
        run_pair("look", "mini_swe_agent", logs, server, auto_eval=False)
        assert KEY not in json.dumps(server.bodies)
    assert not [name for name, content in files_of(trial(logs, "look")).items() if KEY.encode() in content]
    config = json.loads((logs / "look" / "config.json").read_text())
    assert config["api_key_env"] == "LOOPBACK_KEY"
    assert KEY not in json.dumps(config)
