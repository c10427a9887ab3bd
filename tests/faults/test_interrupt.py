"""Ctrl-C: once, and the run stops cleanly; twice, and it is gone. Either way it goes on later."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from cooperbench.dataset import demo_dataset
from cooperbench.runs import RunDirectory, finished
from tests.faults.driver import NAME, in_a_place_of_its_own

DRIVER = Path(__file__).with_name("driver.py")
COMMAND = [sys.executable, "-m", "tests.faults.driver"]
ROOT = Path(__file__).parents[2]


def begin(logs: Path, scripts: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [*COMMAND, logs, scripts],
        cwd=ROOT,
        env=in_a_place_of_its_own(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def wait_for(process: subprocess.Popen[str], word: str) -> None:
    """Read on until the driver says it."""
    assert process.stdout is not None
    while word not in (told := process.stdout.readline()):
        assert told, f"it ended before it said {word!r}: {process.communicate()}"


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
    run = RunDirectory(logs, NAME)
    wait_for(process, "started")
    verdict = run.path / "coop" / "almanac_task" / "12" / "f1_f2" / "eval.json"
    while not verdict.exists():
        assert process.poll() is None, process.communicate()
        time.sleep(0.02)
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
    wait_for(process, "started")
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=120)
    assert verdict.stat().st_mtime_ns == kept


def test_twice(tmp_path: Path, slow: Path) -> None:
    process = begin(tmp_path / "logs", slow)
    wait_for(process, "started")
    process.send_signal(signal.SIGINT)
    wait_for(process, "stopping")
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=120)
    assert process.returncode != 0


def test_the_demo_is_what_is_meant(tmp_path: Path) -> None:
    """The driver runs the whole demo when nobody interrupts it."""
    process = begin(tmp_path / "logs", demo_dataset() / "scripts")
    output = process.communicate(timeout=240)
    assert process.returncode == 0, output
    summary = json.loads((tmp_path / "logs" / NAME / "summary.json").read_text())
    assert summary["completed"] == summary["total_tasks"]
