"""Ctrl-C: once, and the run stops cleanly; twice, and it is gone. Either way it goes on later."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from cooperbench.dataset import demo_dataset
from cooperbench.runs import RunDirectory, finished
from tests.faults.driver import NAME

DRIVER = Path(__file__).with_name("driver.py")
COMMAND = [sys.executable, "-m", "tests.faults.driver"]
ROOT = Path(__file__).parents[2]


def begin(logs: Path, scripts: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [*COMMAND, logs, scripts], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


@pytest.fixture
def slow(tmp_path: Path) -> Path:
    """Scripts of which all but the first pair's take for ever."""
    scripts = tmp_path / "scripts"
    own = scripts / "almanac_task" / "task12" / "f1_f2"
    own.mkdir(parents=True)
    for agent in ("agent1", "agent2"):
        (own / f"{agent}.sh").write_text("echo x >new\n")
        (scripts / f"{agent}.sh").write_text("sleep 600\n")
    return scripts


def test_once(tmp_path: Path, slow: Path) -> None:
    logs = tmp_path / "logs"
    process = begin(logs, slow)
    assert process.stdout is not None
    run = RunDirectory(logs, NAME)
    while process.stdout.readline() != "started\n":
        pass
    verdict = run.path / "coop" / "almanac_task" / "12" / "f1_f2" / "eval.json"
    while not verdict.exists():
        assert process.poll() is None
    process.send_signal(signal.SIGINT)
    output, errors = process.communicate(timeout=120)
    assert "stopping" in output
    assert f"run {NAME} was interrupted; the same command goes on with it" in output
    assert process.returncode != 0
    assert errors.strip().endswith("KeyboardInterrupt")
    summary = json.loads((run.path / "summary.json").read_text())
    assert summary["completed"] == 1
    assert summary["failed"] == 0
    assert summary["pending"] == summary["total_tasks"] - 1
    assert [trial.pair.features for trial in run.trials() if finished(trial.read_result())] == [(1, 2)]
    kept = verdict.stat().st_mtime_ns

    process = begin(logs, slow)
    assert process.stdout is not None
    while process.stdout.readline() != "started\n":
        pass
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=120)
    assert verdict.stat().st_mtime_ns == kept


def test_twice(tmp_path: Path, slow: Path) -> None:
    process = begin(tmp_path / "logs", slow)
    assert process.stdout is not None
    while process.stdout.readline() != "started\n":
        pass
    process.send_signal(signal.SIGINT)
    while "stopping" not in process.stdout.readline():
        pass
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=120)
    assert process.returncode != 0


def test_the_demo_is_what_is_meant(tmp_path: Path) -> None:
    """The driver runs the whole demo when nobody interrupts it."""
    process = begin(tmp_path / "logs", demo_dataset() / "scripts")
    process.communicate(timeout=240)
    assert process.returncode == 0
    summary = json.loads((tmp_path / "logs" / NAME / "summary.json").read_text())
    assert summary["completed"] == summary["total_tasks"]
