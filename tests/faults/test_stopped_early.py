"""A run that is stopped while sandboxes are being made, or by a fault of its own surroundings: none is left behind."""

from __future__ import annotations

import errno
import threading
from pathlib import Path

import pytest

import cooperbench
from cooperbench.dataset import demo_dataset
from cooperbench.errors import SandboxLost, SandboxStartError
from cooperbench.eval.backends import register_backend
from cooperbench.eval.backends.base import ExecResult
from cooperbench.events import Event, TrialFinished
from tests.faults.pressing import press_soon

AGENTS = 2


class Made:
    """A sandbox that only can be ended."""

    def __init__(self) -> None:
        self.ended = False

    def exec(self, *args: str) -> ExecResult:
        raise SandboxLost(f"{args[0]} cannot run: it was ended")

    def terminate(self) -> None:
        self.ended = True


class Slow:
    """A backend that is still at it when Ctrl-C comes, unless it is closed."""

    name = "slow"

    def __init__(self) -> None:
        self.made: list[Made] = []
        self.left: list[bool] = []
        self._closed = threading.Event()
        self._all_begun = threading.Barrier(AGENTS, press_soon)

    def create_sandbox(self, image: str, timeout: int = 600, workdir: str = "/workspace") -> Made:
        del image, timeout, workdir
        self.made.append(made := Made())
        self._all_begun.wait()
        self._closed.wait(4)
        return made

    def close(self) -> None:
        self.left = [not made.ended for made in self.made]
        self._closed.set()


def test_sandboxes_that_are_being_made_are_ended_too(tmp_path: Path) -> None:
    backend = Slow()
    register_backend("slow", lambda: backend, override=True)
    with pytest.raises(KeyboardInterrupt):
        cooperbench.run(
            "early",
            repo="gridline_task",
            features=[1, 2],
            agent="noop",
            backend="slow",
            dataset_dir=demo_dataset(),
            logs_dir=tmp_path / "logs",
        )
    assert backend.left == [False] * AGENTS


class Hanging(Made):
    """A sandbox whose commands last until it is ended."""

    def __init__(self) -> None:
        super().__init__()
        self._over = threading.Event()

    def exec(self, *args: str) -> ExecResult:
        self._over.wait()
        return super().exec(*args)

    def terminate(self) -> None:
        super().terminate()
        self._over.set()


class Staying(Slow):
    """A backend that cannot make one of two trials' sandboxes, once all others are there; and these stay."""

    def __init__(self) -> None:
        super().__init__()
        self._others = threading.Barrier(2 * AGENTS)
        self._asked = 0
        self._lock = threading.Lock()

    def create_sandbox(self, image: str, timeout: int = 600, workdir: str = "/workspace") -> Made:
        del image, timeout, workdir
        with self._lock:
            self._asked += 1
            refused = self._asked == 1
            if not refused:
                self.made.append(made := Hanging())
        self._others.wait()
        if refused:
            raise SandboxStartError("there is no room")
        return made


def test_a_terminal_that_is_gone_leaves_no_sandbox(tmp_path: Path) -> None:
    """What the listener raises in the thread that decides ends the run, and the trials under way with it."""
    backend = Staying()
    register_backend("staying", lambda: backend, override=True)

    def gone(event: Event) -> None:
        if isinstance(event, TrialFinished):
            raise OSError(errno.EIO, "Input/output error")

    with pytest.raises(OSError, match="Input/output error"):
        cooperbench.run(
            "gone",
            repo="gridline_task",
            agent="noop",
            backend="staying",
            concurrency=2,
            dataset_dir=demo_dataset(),
            logs_dir=tmp_path / "logs",
            progress=gone,
        )
    assert backend.left
    assert not any(backend.left)
