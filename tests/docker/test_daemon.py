"""The engine itself goes away: an engine of the test's own is stopped and started."""

from __future__ import annotations

import contextlib
import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cooperbench import register_backend, run
from cooperbench.dataset import demo_dataset
from cooperbench.errors import SandboxLost, SandboxStartError
from cooperbench.eval import backends
from cooperbench.eval.backends.docker import DockerBackend
from cooperbench.events import Judged, TrialFinished, TrialStarted
from tests.docker import daemon as daemons
from tests.docker import engines
from tests.docker.daemon import Daemon


@pytest.fixture(scope="module")
def daemon() -> Iterator[Daemon]:
    with daemons.running() as daemon:
        yield daemon


@pytest.fixture
def second(daemon: Daemon, monkeypatch: pytest.MonkeyPatch) -> str:
    """The name of a backend on that engine, as `run` takes it."""
    monkeypatch.setattr(backends, "_registered", {})
    register_backend("second", lambda: DockerBackend(host=daemon.address, pull="never", network="none"))
    return "second"


def test_the_engine_is_stopped_and_started_again(daemon: Daemon) -> None:
    with contextlib.closing(DockerBackend(host=daemon.address, pull="never", network="none")) as backend:
        engines.make_image(backend, engines.IMAGE, {"build.sh": "true\n"})
        sandbox = backend.create_sandbox(engines.IMAGE)
        seen: list[BaseException | object] = []

        def stay() -> None:
            try:
                seen.append(sandbox.exec("sleep", "60"))
            except SandboxLost as lost:
                seen.append(lost)

        thread = threading.Thread(target=stay)
        thread.start()
        time.sleep(0.5)
        daemon.stop()
        thread.join(30)
        assert isinstance(seen[0], SandboxLost), seen
        with pytest.raises(SandboxLost):
            sandbox.exec("true")
        with pytest.raises(SandboxStartError, match="does not answer"):
            backend.create_sandbox(engines.IMAGE)
        daemon.start()
        sandbox.terminate()
        again = backend.create_sandbox(engines.IMAGE)
        assert again.exec("echo", "back").stdout == b"back\n"
        again.terminate()
        assert engines.containers_of(backend) == []


DEMO = demo_dataset()
TASK = "almanac_task"
EXPECTED = {
    name: outcome
    for name, outcome in json.loads((DEMO / "expected.json").read_text()).items()
    if name.startswith(TASK)
}


def _carry_out(logs: Path, backend: str, name: str = "run", **options: Any) -> dict[str, Any]:
    return run(
        name,
        subset="demo",
        repo=TASK,
        agent="script",
        agent_config=DEMO / "scripts",
        dataset_dir=DEMO,
        backend=backend,
        logs_dir=logs,
        **options,
    )


def _outcomes(summary: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Of the trials that have a verdict."""
    return {
        line["task"]: {"passed": line["eval"]["both_passed"], "merge": line["eval"]["merge"]}
        for line in summary["results"]
        if line["eval"]
    }


def test_a_run_goes_through_a_stop_of_the_engine(daemon: Daemon, second: str, tmp_path: Path) -> None:
    """It is stopped with trials under way, and started once they have failed. Nothing is lost, nothing made up."""
    events: list[Any] = []
    stopped = threading.Event()

    def watch(event: Any) -> None:
        events.append(event)
        if isinstance(event, TrialStarted) and sum(isinstance(e, TrialStarted) for e in events) == 2:
            daemon.stop()
            stopped.set()
        if stopped.is_set() and isinstance(event, TrialFinished) and event.status == "error":
            stopped.clear()
            daemon.start()

    first = _carry_out(tmp_path, second, concurrency=1, eval_concurrency=1, progress=watch)
    troubles = [e for e in events if isinstance(e, TrialFinished | Judged) and e.error]
    assert troubles
    judged = _outcomes(first)
    assert judged.items() <= EXPECTED.items()
    assert len(judged) < len(EXPECTED)

    again = _carry_out(tmp_path, second, concurrency=1, eval_concurrency=1, progress=events.append)
    assert _outcomes(again) == EXPECTED
    with contextlib.closing(DockerBackend(host=daemon.address)) as backend:
        backend.sweep()
        assert engines.containers_of(backend) == []
