"""A recorded coop run on a machine that has no network at all: the same verdict, the same timeline."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from cooperbench.report.atif import trajectory
from tests.e2e.models import DEMO, negotiated, run_pair, timeline_of, trial, verdict_of
from tests.e2e.models import model as serving
from tests.unit.report.test_atif import check

OFFLINE = ["unshare", *([] if os.geteuid() == 0 else ["--map-root-user"]), "--net"]
REACHING = "import socket; socket.create_connection(('127.0.0.1', int(__import__('sys').argv[1])), 10)"
"""The loopback of the machine, which the model was on, is not the loopback in there."""


def test_without_any_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    logs = tmp_path / "logs"
    script = negotiated("git status --short", "echo COMPLETE_TASK_AND_SUBMIT_FINAL_OUTPUT")
    with serving(script, monkeypatch) as server:
        first = run_pair("first", "mini_swe_agent", logs, server, record=True)
        asked = len(server.bodies)
        port = server.url.rpartition(":")[2].partition("/")[0]
        command = [*OFFLINE, sys.executable, "-c", REACHING, port]
        assert subprocess.run(command, capture_output=True, check=False).returncode != 0
        monkeypatch.delenv("LOOPBACK_KEY")
        again = [
            *("run", "--name", "again", "--replay", "first", "--agent", "mini_swe_agent"),
            *("--model", "openai/scripted", "--backend", "local", "--repo", "gridline_task", "--task", "3"),
            *(
                "--features",
                "1,2",
                "--dataset-dir",
                DEMO,
                "--log-dir",
                logs,
                "--prices",
                tmp_path / "prices.json",
            ),
        ]
        program = 'ip link set lo up && exec "$@"'
        command = [
            *OFFLINE,
            "sh",
            "-c",
            program,
            "sh",
            sys.executable,
            "-m",
            "cooperbench.cli",
            *map(str, again),
        ]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        assert len(server.bodies) == asked
    assert first["eval"] == {"both_passed": True, "merge": "clean"}
    before, after = trial(logs, "first"), trial(logs, "again")
    assert verdict_of(after) == verdict_of(before)
    assert timeline_of(after) == timeline_of(before)
    assert {kind for _, _, kind, _ in timeline_of(after)} >= {
        "start",
        "message",
        "read",
        "command",
        "step",
        "finish",
    }
    assert after.read_patches() == before.read_patches()
    assert after.read_conversation() == before.read_conversation()
    for agent in ("agent1", "agent2"):  # and what is exported of it is in the format
        steps = check(trajectory(after.read_result() or {}, agent, after.read_events()))
        assert {step["source"] for step in steps} == {"system", "user", "agent"}
