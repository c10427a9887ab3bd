"""The next image comes while the last one's trials run: over a real registry, whose log says what was asked when."""

from __future__ import annotations

import contextlib
import itertools
import os
import signal
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from cooperbench import evaluate, register_backend, run
from cooperbench.agents.base import AgentResult, Assignment, Mailbox
from cooperbench.agents.gold import GoldAgent
from cooperbench.cli import exits
from cooperbench.eval import backends
from cooperbench.eval.backends.base import Sandbox
from cooperbench.eval.backends.docker import DockerBackend
from cooperbench.eval.backends.local import LocalBackend
from cooperbench.events import Event, Judged, Note, TrialFinished
from tests.docker import engines
from tests.docker.registry import Registry
from tests.images import published
from tests.images.published import REPOSITORIES

FIRST, SECOND, THIRD = REPOSITORIES
TASKS = {"almanac_task": FIRST, "gridline_task": SECOND, "todosh_task": THIRD}
Backend = LocalBackend | DockerBackend


class Watched(GoldAgent):
    """Before it begins, `watch` is called with its repository."""

    watch: Callable[[str], None] = staticmethod(lambda _: None)

    def run(self, assignment: Assignment, sandbox: Sandbox, mailbox: Mailbox) -> AgentResult:
        """Like the oracle."""
        Watched.watch(TASKS[assignment.repo])
        return super().run(assignment, sandbox, mailbox)


@pytest.fixture(scope="module")
def pushed() -> Iterator[Registry]:
    with contextlib.closing(Registry()) as registry, engines.docker(network="none") as docker:
        published.push(docker, registry)
        yield registry


@pytest.fixture
def registry(pushed: Registry, monkeypatch: pytest.MonkeyPatch) -> Iterator[Registry]:
    """Nothing was asked for yet; the second image is behind a gate."""
    pushed.log.clear()
    gate = threading.Event()
    monkeypatch.setattr(pushed, "gates", {SECOND: gate})
    yield pushed
    gate.set()


class Bench:
    """Runs on one backend, of which each has its own images."""

    def __init__(self, kind: str, directory: Path, registry: Registry) -> None:
        self._kind = kind
        self._directory = directory
        self._registry = registry
        self._states = itertools.count()
        self.dataset = published.lay_out(directory / "dataset", registry)
        self.images = {
            repository: f"{registry.address}/{repository}:{task}"
            for repository, task in zip(REPOSITORIES, ("task12", "task3", "task0"), strict=True)
        }
        self.events: list[Event] = []
        self.settings: dict[str, Any] = {}

    def new(self) -> Backend:
        """A backend that has none of the images."""
        if self._kind == "docker":
            self.clear()
            return DockerBackend(network="none", **self.settings)
        return LocalBackend(state_dir=self._directory / f"state{next(self._states)}", **self.settings)

    def clear(self) -> None:
        """Nothing is left on the engine."""
        if self._kind == "docker":
            with contextlib.closing(DockerBackend()) as backend:
                for image in self.images.values():
                    with contextlib.suppress(Exception):
                        engines.engine_of(backend).remove_image(image, force=True)

    def use(self, backend: Backend) -> None:
        """For the runs to come."""
        register_backend("watched", lambda: backend)

    def run(self, **arguments: Any) -> dict[str, Any]:
        """All demo pairs, one at a time."""
        given: dict[str, Any] = {"concurrency": 1, "eval_concurrency": 1, **arguments}
        return run(
            "one",
            subset="demo",
            agent=f"{__name__}:Watched",
            backend="watched",
            dataset_dir=self.dataset,
            logs_dir=self._directory / "logs",
            progress=self.events.append,
            **given,
        )

    def evaluate(self, **arguments: Any) -> dict[str, Any]:
        """Judge them, one at a time."""
        return evaluate(
            "one",
            concurrency=1,
            backend="watched",
            dataset_dir=self.dataset,
            logs_dir=self._directory / "logs",
            progress=self.judged,
            **arguments,
        )

    def judged(self, event: Event) -> None:
        """Watch judgements too."""
        self.events.append(event)
        if isinstance(event, Judged):
            Watched.watch(TASKS[event.pair.repo])

    def errors(self) -> Counter[str]:
        """Trials without a verdict, by repository."""
        troubles = (each for each in self.events if isinstance(each, TrialFinished | Judged) and each.error)
        return Counter(TASKS[each.pair.repo] for each in troubles)


@pytest.fixture(params=["local", "docker"])
def bench(
    request: pytest.FixtureRequest, tmp_path: Path, registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Bench]:
    monkeypatch.setattr(backends, "_registered", {})
    monkeypatch.setattr(Watched, "watch", staticmethod(lambda _: None))
    made = Bench(request.param, tmp_path, registry)
    yield made
    made.clear()


def fetched_once(registry: Registry, *repositories: str) -> None:
    """Each was asked for, and nothing of it twice."""
    for repository in repositories:
        assert registry.asks(repository), repository
        counted = Counter(registry.given(repository))
        assert [blob for blob, times in counted.items() if times > 1] == []


def test_the_second_is_asked_for_while_the_first_ones_trials_run_and_stalls_none(
    bench: Bench, registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[str] = []

    def watch(repository: str) -> None:
        seen.append(repository)
        if repository == FIRST:
            assert registry.await_ask(SECOND)
            assert registry.asks(THIRD) == []
        if seen.count(FIRST) == 6:  # two agents of three pairs: all there is to do meanwhile
            registry.gates[SECOND].set()

    monkeypatch.setattr(Watched, "watch", staticmethod(watch))
    bench.use(bench.new())
    totals = bench.run()
    assert bench.errors() == {}, bench.events
    assert totals["completed"] == 8
    fetched_once(registry, *REPOSITORIES)
    own = set(registry.given(SECOND)) - set(registry.given(FIRST))
    assert own == set(registry.given(SECOND)), "what the two share was fetched again"


def test_one_that_is_there_does_not_wait_for_one_that_is_not(
    bench: Bench, registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[str] = []

    def watch(repository: str) -> None:
        seen.append(repository)
        if seen.count(THIRD) == 4:
            registry.gates[SECOND].set()

    monkeypatch.setattr(Watched, "watch", staticmethod(watch))
    backend = bench.new()
    backend.prepare_image(bench.images[THIRD], None)
    bench.use(backend)
    assert bench.run()["completed"] == 8
    assert bench.errors() == {}, bench.events
    assert seen == [FIRST] * 6 + [THIRD] * 4 + [SECOND] * 6


def test_judging_does_so_too(bench: Bench, registry: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    registry.gates[SECOND].set()
    bench.use(bench.new())
    bench.run(auto_eval=False)
    registry.gates[SECOND].clear()
    registry.log.clear()
    seen: list[str] = []

    def watch(repository: str) -> None:
        seen.append(repository)
        if seen == [FIRST] * 3:
            assert registry.await_ask(SECOND)
            registry.gates[SECOND].set()

    monkeypatch.setattr(Watched, "watch", staticmethod(watch))
    bench.use(bench.new())
    bench.evaluate()
    assert bench.errors() == {}, bench.events
    assert sorted(seen) == [FIRST] * 3 + [SECOND] * 3 + [THIRD] * 2
    fetched_once(registry, *REPOSITORIES)


def test_one_that_cannot_be_had_fails_its_own_trials_and_is_told_of_early(
    bench: Bench, registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(registry.manifests, SECOND, ("application/json", b"{}"))
    registry.gates[SECOND].set()
    told_when: list[int] = []

    def told(image: str) -> bool:
        return any(
            isinstance(each, Note) and each.text.startswith(f"image {image} cannot") for each in bench.events
        )

    def watch(repository: str) -> None:
        if repository == FIRST and not told_when:
            assert registry.await_ask(THIRD), "the next one comes in its place"
            told_when.append(told(bench.images[SECOND]))

    monkeypatch.setattr(Watched, "watch", staticmethod(watch))
    bench.use(bench.new())
    bench.run()
    assert told_when == [True]
    assert bench.errors() == {SECOND: 3}
    reasons = {each.error for each in bench.events if isinstance(each, TrialFinished) and each.error}
    assert len(reasons) == 1
    assert bench.images[SECOND] in reasons.pop()


@pytest.mark.parametrize(("megabytes", "ahead"), [(200, False), (400, True)])
def test_within_a_budget_only_what_fits_beside_what_is_in_use(
    bench: Bench, registry: Registry, monkeypatch: pytest.MonkeyPatch, megabytes: int, ahead: bool
) -> None:
    registry.gates[SECOND].set()
    bench.settings["disk_budget"] = f"{megabytes}m"
    asked: list[bool] = []

    def watch(repository: str) -> None:
        if repository == FIRST:
            asked.append(registry.await_ask(SECOND) if ahead else bool(registry.asks(SECOND)))

    monkeypatch.setattr(Watched, "watch", staticmethod(watch))
    bench.use(bench.new())
    assert bench.run()["completed"] == 8
    assert bench.errors() == {}, bench.events
    assert asked == [ahead] * 6
    fetched_once(registry, *REPOSITORIES)


@pytest.mark.parametrize("hangs", [FIRST, SECOND])
@pytest.mark.parametrize("kind", ["local", "docker"])
def test_ctrl_c_does_not_wait_for_an_image(
    kind: str, hangs: str, registry: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither for the first one nor for one that comes while the others' trials are over."""
    bench = Bench(kind, tmp_path, registry)
    bench.clear()
    gate = threading.Event()
    monkeypatch.setattr(registry, "gates", {hangs: gate})
    words = f"run -n one -s demo -a noop --backend {kind} --dataset-dir {bench.dataset} --features 1,2 -c 3"
    process = subprocess.Popen(
        # Whoever runs the tests in the background of a script has Ctrl-C ignored, and so would this be.
        ["env", "--default-signal=INT", sys.executable, "-m", "cooperbench.cli", *words.split()],
        cwd=tmp_path,
        env={**os.environ, "COOPERBENCH_STATE_DIR": str(tmp_path / "state")},
        stdin=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert registry.await_ask(hangs, 300)
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=120)
        assert process.returncode == exits.INTERRUPTED, said
        assert not gate.is_set()
    finally:
        gate.set()
        process.kill()
        bench.clear()
