"""Ctrl-C while judgements are under way: they end before the caller goes on, and none begins after that."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest

import cooperbench
from cooperbench.dataset.model import Dataset, Pair
from cooperbench.errors import SandboxLost
from cooperbench.eval.backends import register_backend
from cooperbench.eval.backends.base import ExecResult
from cooperbench.events import Note
from cooperbench.runs import RunDirectory
from tests.faults.pressing import press_soon
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
    """A backend that has Ctrl-C pressed as soon as there are two sandboxes."""

    name = "interrupting"

    def __init__(self) -> None:
        self.made: list[Waiting] = []
        self.begun = threading.Barrier(len(PAIRS), press_soon)
        self.ended_before_closing: list[bool] = []

    def create_sandbox(self, image: str, timeout: int = 600, workdir: str = "/workspace") -> Waiting:
        del image, timeout, workdir
        self.made.append(Waiting(self))
        return self.made[-1]

    def close(self) -> None:
        self.ended_before_closing = [sandbox.ended.is_set() for sandbox in self.made]
        self.begun.abort()
        for sandbox in self.made:
            sandbox.terminate()


def evaluated(run: RunDirectory, dataset: Dataset, **options: Any) -> None:
    cooperbench.evaluate(run.name, dataset_dir=dataset.root, logs_dir=run.path.parent, **options)


def validated(run: RunDirectory, dataset: Dataset, **options: Any) -> None:
    cooperbench.validate(features=[1], dataset_dir=dataset.root, output_dir=run.path.parent, **options)


@pytest.mark.parametrize("judged", [evaluated, validated])
def test_nothing_is_left_to_go_on(run: RunDirectory, dataset: Dataset, judged: Callable[..., None]) -> None:
    backend = Interrupting()
    register_backend("interrupting", lambda: backend, override=True)
    told: list[Any] = []
    with pytest.raises(KeyboardInterrupt):
        judged(run, dataset, backend="interrupting", concurrency=2, progress=told.append)
    for thread in threading.enumerate():
        if thread.name.startswith("cooperbench"):
            thread.join()
    assert backend.ended_before_closing == [True, True]
    assert len(backend.made) == 2
    assert not any(trial.read_verdict() for trial in run.trials())
    notes = [note.text for note in told if isinstance(note, Note)]
    assert "stopping: ending the sandboxes; the same command goes on with the rest" in notes


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
