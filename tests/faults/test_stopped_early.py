"""Ctrl-C while sandboxes are being made: none is left behind."""

from __future__ import annotations

import signal
import threading
from pathlib import Path

import pytest

import cooperbench
from cooperbench.dataset import demo_dataset
from cooperbench.errors import SandboxLost
from cooperbench.eval.backends import register_backend
from cooperbench.eval.backends.base import ExecResult

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
        self._all_begun = threading.Barrier(AGENTS, self._press)

    @staticmethod
    def _press() -> None:
        main = threading.main_thread().ident
        assert main is not None
        signal.pthread_kill(main, signal.SIGINT)

    def create_sandbox(self, image: str, timeout: int = 600, workdir: str = "/workspace") -> Made:
        del image, timeout, workdir
        self.made.append(made := Made())
        self._all_begun.wait()
        self._closed.wait(1)
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
