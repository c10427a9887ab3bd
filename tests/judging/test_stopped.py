"""Ctrl-C while a run is judged: what is under way ends before the run is let go of, and nothing begins after that."""

from __future__ import annotations

import signal
import threading
from typing import Any

import pytest

import cooperbench
from cooperbench.dataset.model import Dataset, Pair
from cooperbench.errors import SandboxLost
from cooperbench.eval.backends import register_backend
from cooperbench.eval.backends.base import ExecResult
from cooperbench.events import Note
from cooperbench.runs import RunDirectory
from tests.judging.project import REPO, Project

PAIRS = Pair(REPO, 2, (1, 2)), Pair(REPO, 2, (1, 3))


class Waiting:
    """A sandbox whose commands last until it is ended."""

    def __init__(self, backend: Interrupting) -> None:
        self._backend = backend
        self.ended = threading.Event()

    def exec(self, *args: str) -> ExecResult:
        del args
        self._backend.begun.wait()
        self.ended.wait()
        raise SandboxLost("it was ended")

    def terminate(self) -> None:
        self.ended.set()


class Interrupting:
    """A backend that has Ctrl-C pressed as soon as there is a sandbox for each pair."""

    name = "interrupting"

    def __init__(self) -> None:
        self.made: list[Waiting] = []
        self.begun = threading.Barrier(len(PAIRS), self._press)
        self.ended_before_closing: list[bool] = []

    @staticmethod
    def _press() -> None:
        main = threading.main_thread().ident
        assert main is not None
        signal.pthread_kill(main, signal.SIGINT)

    def create_sandbox(self, image: str, timeout: int = 600, workdir: str = "/workspace") -> Waiting:
        del image, timeout, workdir
        self.made.append(Waiting(self))
        return self.made[-1]

    def close(self) -> None:
        self.ended_before_closing = [sandbox.ended.is_set() for sandbox in self.made]
        self.begun.abort()
        for sandbox in self.made:
            sandbox.terminate()


def test_nothing_is_left_to_go_on(run: RunDirectory, dataset: Dataset) -> None:
    backend = Interrupting()
    register_backend("interrupting", lambda: backend, override=True)
    told: list[Any] = []
    with pytest.raises(KeyboardInterrupt):
        cooperbench.evaluate(
            run.name,
            backend="interrupting",
            concurrency=2,
            dataset_dir=dataset.root,
            logs_dir=run.path.parent,
            progress=told.append,
        )
    for thread in threading.enumerate():
        if thread.name.startswith("cooperbench"):
            thread.join()
    assert backend.ended_before_closing == [True, True]
    assert len(backend.made) == 2
    assert not any(trial.read_verdict() for trial in run.trials())
    assert any(
        "the same command goes on with the rest" in note.text for note in told if isinstance(note, Note)
    )


@pytest.fixture
def run(tmp_path: Any, project: Project) -> RunDirectory:
    run = RunDirectory(tmp_path / "logs", "stopped")
    for pair in PAIRS:
        trial = run.trial("coop", pair)
        for n in pair.features:
            trial.write_patch(n, project.gold(n))
        agents = {f"agent{n}": {"feature_id": n, "status": "Submitted"} for n in pair.features}
        trial.write_result({"repo": REPO, "task_id": 2, "features": list(pair.features), "agents": agents})
    return run
