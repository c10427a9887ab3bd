"""`run` when something goes wrong: an agent, a script, a backend, the judging."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cooperbench import register_agent, register_backend
from cooperbench.agents.base import AgentResult
from cooperbench.errors import AgentError, SandboxLost
from cooperbench.eval.backends import shell
from cooperbench.events import Judged, TrialFinished, TrialStarted
from tests.e2e.demo_runs import ONE, demo, trial


class Moody:
    """Misbehaves for agent2 in the way its class says, until it is cured."""

    mood = "crash"
    uses_messages = False

    def run(self, assignment, sandbox, mailbox) -> AgentResult:
        del mailbox
        shell.put_files(sandbox, {f"{assignment.workdir}/{assignment.agent_id}.txt": b"here\n"})
        if assignment.agent_id != "agent2" or self.mood == "cured":
            return AgentResult()
        if self.mood == "crash":
            raise ZeroDivisionError("a bug of the framework")
        if self.mood == "exit":
            raise SystemExit(3)
        if self.mood == "nothing":
            return None  # type: ignore[return-value]
        if self.mood == "own error":
            raise AgentError("no credentials")
        if self.mood == "status":
            return AgentResult("Error", error="gave up")
        if self.mood == "lost":
            raise SandboxLost("the sandbox is gone")
        if self.mood == "odd":
            said: list[Any] = [{1, 2}, {"timestamp": 10**400}, {"timestamp": "0001-01-01T00:00:00+14:00"}]
            return AgentResult(
                cost=float("nan"), steps="many", input_tokens="x", output_tokens=10**400, messages=said
            )  # type: ignore
        if self.mood == "limit":
            return AgentResult("LimitsExceeded", cost=2.5)
        shell.run(sandbox, ["rm", "-rf", f"{assignment.workdir}/.git"])
        return AgentResult()


@pytest.fixture
def moody() -> Iterator[type[Moody]]:
    register_agent("moody", Moody)
    yield Moody
    Moody.mood = "crash"


@pytest.mark.parametrize("mood", ["crash", "exit", "nothing", "own error", "status", "lost"])
def test_what_is_not_the_agents_work_is_tried_again(logs: Path, moody: type[Moody], mood: str) -> None:
    """IO1, IO8: an old verdict must not meet the new patch; an error is no failed test."""
    moody.mood = mood
    summary, events = demo(logs, agent="moody", **ONE)
    assert summary["failed"] == summary["eval"]["errors"] == 1
    assert summary["eval"]["failed"] == 0
    assert not any(isinstance(event, Judged) for event in events)
    told = next(event for event in events if isinstance(event, TrialFinished))
    assert told.status == "error"
    assert told.error
    assert trial(logs).read_verdict() is None
    trial(logs).write_verdict({"passed": True, "both_passed": True}, {})  # as if of an earlier attempt
    moody.mood = "cured"
    summary, _ = demo(logs, agent="moody", **ONE)
    assert summary["failed"] == summary["eval"]["errors"] == 0
    assert summary["eval"]["failed"] == 1
    assert set((trial(logs).read_verdict() or {})["inputs"]) >= {"agent1.patch", "agent2.patch"}


def test_a_limit_reached_is_an_outcome(logs: Path, moody: type[Moody]) -> None:
    moody.mood = "limit"
    summary, _ = demo(logs, agent="moody", **ONE)
    assert summary["completed"] == 1
    assert summary["total_cost"] is None  # agent1's is not known
    assert b"agent2.txt" in trial(logs).read_patches()[2]
    _, events = demo(logs, agent="moody", **ONE)
    assert not any(isinstance(event, TrialStarted) for event in events)


def test_odd_figures_are_unknown_and_cost_no_work(logs: Path, moody: type[Moody]) -> None:
    moody.mood = "odd"
    summary, _ = demo(logs, agent="moody", **ONE)
    assert (summary["completed"], summary["unpriced"], summary["total_steps"]) == (1, 1, 0)
    assert trial(logs).read_patches()[ONE["features"][1]]


def test_a_destroyed_repository_is_the_agents_failure(logs: Path, moody: type[Moody]) -> None:
    moody.mood = "destroy"
    summary, _ = demo(logs, agent="moody", **ONE)
    assert summary["completed"] == summary["eval"]["failed"] == 1
    result = trial(logs).read_result() or {}
    assert "gone" in result["agents"]["agent2"]["error"]
    assert trial(logs).read_patches()[2] == b""


def test_an_agent_that_does_not_come_back(logs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from cooperbench.runner import trial as trial_module

    class Stuck:
        uses_messages = False

        def run(self, assignment, sandbox, mailbox) -> AgentResult:
            del mailbox
            shell.put_files(sandbox, {f"{assignment.workdir}/{assignment.agent_id}.txt": b"here\n"})
            if assignment.agent_id == "agent1":
                shell.run(sandbox, ["sleep", "600"])
            return AgentResult()

    register_agent("stuck", Stuck)
    monkeypatch.setattr(trial_module, "GRACE", 1)
    summary, _ = demo(logs, agent="stuck", agent_timeout=3, **ONE)
    assert summary["completed"] == 1
    result = trial(logs).read_result() or {}
    assert [agent["status"] for agent in result["agents"].values()] == ["LimitsExceeded", "Submitted"]
    assert b"agent1.txt" in trial(logs).read_patches()[1]


def test_a_script_that_fails_is_an_error_and_one_that_lasts_a_limit(logs: Path, tmp_path: Path) -> None:
    scripts = tmp_path / "scripts"
    scripts.mkdir()
    (scripts / "agent1.sh").write_text("echo no luck >&2\nexit 3\n")
    (scripts / "agent2.sh").write_text("echo x >new\nsleep 600\n")
    summary, _ = demo(logs, agent_config=scripts, agent_timeout=4, **ONE)
    assert summary["failed"] == 1
    agents = (trial(logs).read_result() or {})["agents"]
    assert agents["agent1"]["error"] == "agent1.sh ended with exit code 3: no luck"
    assert agents["agent2"]["status"] == "LimitsExceeded"
    assert b"new" in trial(logs).read_patches()[2]


def test_a_recording_is_replayed(logs: Path, tmp_path: Path) -> None:
    recording = tmp_path / "both.json"
    recording.write_text(
        json.dumps([{"command": "echo $AGENT_ID >who"}, {"command": "false"}, {"command": "cat who"}])
    )
    demo(logs, agent_config=recording, auto_eval=False, **ONE)
    trajectory = trial(logs).read_trajectory(2) or {}
    assert [step["exit_code"] for step in trajectory["messages"]] == [0, 1, 0]
    assert trajectory["messages"][2]["stdout"] == "agent2\n"


class Broken:
    """A backend that cannot make sandboxes."""

    def create_sandbox(self, image: str, timeout: int = 600, workdir: str = "/workspace"):
        del image, timeout, workdir
        raise OSError("no room on the device")


def test_a_backend_that_fails_is_an_error_to_try_again(logs: Path) -> None:
    register_backend("broken-by-test-run", Broken)
    summary, events = demo(logs, agent="gold", backend="broken-by-test-run", **ONE)
    assert summary["failed"] == summary["eval"]["errors"] == 1
    assert "no room on the device" in summary["results"][0]["error"]
    assert (trial(logs).read_result() or {})["error"]
    summary, events = demo(logs, agent="gold", backend="broken-by-test-run", **ONE)
    assert any(isinstance(event, TrialStarted) for event in events)


def test_judging_that_fails_is_an_error_and_no_verdict(logs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """IO7: an exception while judging ended the run before it wrote its summary."""
    real = shell.run_job

    def fails(backend, job):
        del backend, job
        raise SandboxLost("the engine went away")

    monkeypatch.setattr(shell, "run_job", fails)
    summary, events = demo(logs, agent="gold", **ONE)
    assert summary["completed"] == summary["eval"]["errors"] == 1
    assert next(event for event in events if isinstance(event, Judged)).error == "the engine went away"
    assert trial(logs).read_verdict() is None
    monkeypatch.setattr(shell, "run_job", real)
    summary, events = demo(logs, agent="gold", **ONE)
    assert summary["eval"]["errors"] == 0
    assert not any(isinstance(event, TrialStarted) for event in events)
