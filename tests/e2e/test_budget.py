"""A run that has spent its money starts nothing more, keeps what is done, and goes on with more."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from cooperbench import run
from cooperbench.agents.base import AgentResult
from cooperbench.agents.gold import GoldAgent
from cooperbench.dataset import demo_dataset
from cooperbench.errors import SandboxLost
from cooperbench.events import Note
from tests.e2e.models import model, run_pair, trial
from tests.loopback.models import Script

ONE_CALL = 1000 * 1e-6 + 10 * 2e-6
"""US dollars: what the scripted model counts for a first call, at the prices of `models`."""


class DearAgent(GoldAgent):
    """What it does costs a quarter of a dollar."""

    def run(self, assignment: Any, sandbox: Any, mailbox: Any) -> AgentResult:
        super().run(assignment, sandbox, mailbox)
        return AgentResult(cost=0.25, steps=1)


def spend(logs: Path, most: float | None) -> tuple[dict[str, Any], list[str]]:
    notes: list[str] = []
    summary = run(
        "dear",
        agent=f"{__name__}:DearAgent",
        repo="gridline_task",
        backend="local",
        concurrency=1,
        auto_eval=False,
        dataset_dir=demo_dataset(),
        logs_dir=logs,
        max_cost=most,
        progress=lambda event: notes.append(event.text) if isinstance(event, Note) else None,
    )
    return summary, notes


def test_the_money_of_a_run(tmp_path: Path) -> None:
    first, notes = spend(tmp_path, 0.75)
    assert (first["completed"], first["total_cost"]) == (2, 1.0)
    assert first["pending"] == first["total_tasks"] - 2 > 0
    assert any(f"{first['pending']} trials were not started" in note for note in notes)
    again, _ = spend(tmp_path, 0.75)
    assert again["completed"] == 2
    more, notes = spend(tmp_path, None)
    assert more["pending"] == 0
    assert more["total_cost"] == more["total_tasks"] * 0.5
    assert not any("not started" in note for note in notes)


class LostAgent:
    """Asks its model once; then the second's sandbox is lost, while the first has not come back."""

    uses_gateway = True
    uses_messages = False
    asked = threading.Barrier(2)

    def run(self, assignment: Any, sandbox: Any, mailbox: Any) -> AgentResult:
        del mailbox
        asked = {"model": "any", "messages": [{"role": "user", "content": f"You are {assignment.agent_id}."}]}
        assert assignment.line.answer("/v1/chat/completions", json.dumps(asked).encode()).status == 200
        self.asked.wait(60)
        if assignment.agent_id == "agent2":
            raise SandboxLost("its machine is gone")
        sandbox.exec("sleep", "600")  # until the trial ends its sandbox
        return AgentResult()


def test_what_a_lost_attempt_has_cost_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    logs = tmp_path / "logs"
    with model(Script({"agent1": ["ls"], "agent2": ["ls"]}), monkeypatch) as server:
        lost = run_pair("lost", f"{__name__}:LostAgent", logs, server)
        first = trial(logs, "lost").read_result() or {}
        assert lost["status"] == "error"
        calls = len(server.bodies)
        assert calls == 2
        assert lost["cost"] == first["total_cost"] == pytest.approx(2 * ONE_CALL)
        assert first["spent"] == pytest.approx(2 * ONE_CALL)
        run_pair("lost", f"{__name__}:LostAgent", logs, server)
        second = trial(logs, "lost").read_result() or {}
        assert (second["total_cost"], second["spent"]) == pytest.approx((2 * ONE_CALL, 4 * ONE_CALL))
        run_pair("lost", f"{__name__}:LostAgent", logs, server, max_cost=3 * ONE_CALL)
        assert len(server.bodies) == 2 * calls  # the money was spent by the two before
        run_pair("lost", f"{__name__}:LostAgent", logs, server, max_cost=5 * ONE_CALL)
        assert len(server.bodies) == 3 * calls


class KillingAgent(LostAgent):
    """Ends the harness, as `kill -9` does, once both have had an answer."""

    def run(self, assignment: Any, sandbox: Any, mailbox: Any) -> AgentResult:
        del sandbox
        with contextlib.suppress(SandboxLost):
            super().run(assignment, _Unneeded(), mailbox)
        os.kill(os.getpid(), signal.SIGKILL)
        raise AssertionError("still here")


class _Unneeded:
    def exec(self, *args: str) -> None:
        del args


def test_what_a_killed_harness_had_spent_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    logs = tmp_path / "logs"
    code = (
        "import sys, pathlib, types; from tests.e2e.models import run_pair; run_pair('killed', sys.argv[1], "
    )
    code += "pathlib.Path(sys.argv[2]), types.SimpleNamespace(url=sys.argv[3]))"
    with model(Script({"agent1": ["ls"], "agent2": ["ls"]}), monkeypatch) as server:
        command = [sys.executable, "-c", code, f"{__name__}:KillingAgent", str(logs), server.url]
        killed = subprocess.run(command, cwd=Path(__file__).parents[2], check=False, timeout=300)
        assert killed.returncode == -signal.SIGKILL
        assert (trial(logs, "killed").read_result(), len(server.bodies)) == (None, 2)
        run_pair("killed", f"{__name__}:KillingAgent", logs, server, max_cost=1.5 * ONE_CALL)
        assert len(server.bodies) == 2  # nothing was started: this process is alive
    assert trial(logs, "killed").spent(None) == pytest.approx(2 * ONE_CALL)


class UntoldAgent(LostAgent):
    """Has a model of its own, and is lost before it says what that came to."""

    uses_gateway = False

    def run(self, assignment: Any, sandbox: Any, mailbox: Any) -> AgentResult:
        del sandbox, mailbox
        if assignment.agent_id == "agent2":
            raise SandboxLost("its machine is gone")
        return AgentResult(cost=0.25)


def test_what_nobody_knows_is_not_nothing(tmp_path: Path) -> None:
    summary = run(
        "untold",
        agent=f"{__name__}:UntoldAgent",
        repo="gridline_task",
        features=[1, 2],
        backend="local",
        dataset_dir=demo_dataset(),
        logs_dir=tmp_path,
    )
    assert (summary["failed"], summary["total_cost"], summary["unpriced"]) == (1, None, 1)
