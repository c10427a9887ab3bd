"""kill -9 of the harness at 50 random instants of a demo run: what was finished stays, the rest is done later.

The instants are drawn with fixed seeds, over and over on the same run until nothing is left of it to do; then
another one is begun. Processes the killed harness leaves behind become children of the test (it is their subreaper), so
none escapes being seen.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from cooperbench.dataset import demo_dataset
from cooperbench.eval.backends.local import LocalBackend
from cooperbench.runs import RunDirectory, finished
from tests.faults.driver import NAME, in_a_place_of_its_own, state_directory

ROOT = Path(__file__).parents[2]
SCRIPTS = demo_dataset() / "scripts"
SEEDS = 10
KILLS = 5
"""For each seed: 50 in all."""
LONGEST = 1.4
"""Seconds after which a run is killed at the latest; an undisturbed one takes a little more."""
PR_SET_CHILD_SUBREAPER = 36


@pytest.fixture(autouse=True)
def orphans_come_to_us() -> Iterator[None]:
    OURS.update(psutil.Process().children(recursive=True))  # of tests that ran before in this process
    libc = ctypes.CDLL(None, use_errno=True)
    assert libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) == 0
    yield
    libc.prctl(PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0)


def begin(logs: Path, errors: Path) -> subprocess.Popen[bytes]:
    with errors.open("wb") as stream:
        command = [sys.executable, "-m", "tests.faults.driver", logs, SCRIPTS]
        return subprocess.Popen(
            command, cwd=ROOT, env=in_a_place_of_its_own(), stdout=subprocess.DEVNULL, stderr=stream
        )


def whole(logs: Path, errors: Path) -> dict[str, Any]:
    """Let a run come to its end; its summary without the times."""
    process = begin(logs, errors)
    assert process.wait(240) == 0, errors.read_text()
    summary = json.loads((logs / NAME / "summary.json").read_text())
    return {key: value for key, value in summary.items() if key not in ("completed_at", "total_time_seconds")}


def kept(logs: Path) -> dict[Path, tuple[int, bytes]]:
    """The files of every finished trial, with the time each was written; a verdict's from when it is there."""
    found: dict[Path, tuple[int, bytes]] = {}
    for trial in RunDirectory(logs, NAME).trials():
        if finished(trial.read_result()):
            judged = trial.read_verdict() is not None
            for path in trial.path.iterdir():
                part_of_judging = path.suffix in (".log", ".tmp") or path.name.startswith("eval")
                if judged or not part_of_judging:
                    found[path] = (path.stat().st_mtime_ns, path.read_bytes())
    return found


def wait_for_orphans() -> list[str]:
    """What is still alive of killed runs after a while."""
    deadline = time.monotonic() + 120
    while True:
        children = set(psutil.Process().children(recursive=True)) - OURS
        alive = [command for child in children if (command := command_of_living(child)) is not None]
        reap()
        if not alive or time.monotonic() > deadline:
            return alive
        time.sleep(0.02)


def command_of_living(process: psutil.Process) -> str | None:
    """Its command line; None when it is dead, also when it dies while it is looked at."""
    try:
        return " ".join(process.cmdline()) if process.status() != psutil.STATUS_ZOMBIE else None
    except psutil.NoSuchProcess:
        return None


def reap() -> None:
    while True:
        try:
            pid, _ = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if pid == 0:
            return


OURS: set[psutil.Process] = set()


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    place = tmp_path_factory.mktemp("undisturbed")
    return whole(place / "logs", place / "errors")


@pytest.mark.parametrize("seed", range(SEEDS))
def test_nothing_finished_is_lost_or_repeated(seed: int, undisturbed: dict[str, Any], tmp_path: Path) -> None:
    instants = random.Random(seed)
    runs = [tmp_path / "logs0"]
    before: dict[Path, tuple[int, bytes]] = {}
    for _ in range(KILLS):
        process = begin(runs[-1], tmp_path / "errors")
        time.sleep(instants.uniform(0.05, LONGEST))
        process.send_signal(signal.SIGKILL)
        process.wait(120)
        after = kept(runs[-1])
        assert {path: after.get(path) for path in before} == before
        before = after
        assert wait_for_orphans() == []
        if sum(path.name == "eval.json" for path in after) == undisturbed["total_tasks"]:
            assert_ends_well(runs[-1], after, undisturbed)  # nothing left to disturb: kill another one
            runs.append(tmp_path / f"logs{len(runs)}")
            before = {}
    assert_ends_well(runs[-1], before, undisturbed)
    with contextlib.closing(LocalBackend(state_dir=state_directory())) as backend:
        backend.sweep()
    assert wait_for_orphans() == []


def assert_ends_well(logs: Path, before: dict[Path, tuple[int, bytes]], undisturbed: dict[str, Any]) -> None:
    """The killed run goes on to the same end as one nobody disturbed, and what was finished is as it was."""
    assert whole(logs, logs.with_name("errors")) == undisturbed
    after = kept(logs)
    assert {path: after.get(path) for path in before} == before
    assert not list(logs.rglob("*.tmp"))
