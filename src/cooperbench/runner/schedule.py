"""All trials of an invocation: at most so many at once, each judged as soon as it is done.

One thread decides and tells, the others work. Nothing is submitted before there is room for it and its image is there,
so ten thousand trials cost no more memory than those under way, and none keeps a place while it waits for an image.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from concurrent.futures import Future, wait
from functools import partial
from queue import SimpleQueue
from typing import Any

from cooperbench.dataset.model import Task
from cooperbench.errors import SandboxStartError
from cooperbench.eval.endable import EndableBackend
from cooperbench.eval.judging import judged_event, unjudged_event
from cooperbench.eval.supply import Supply
from cooperbench.events import Judged, Note, TrialFinished
from cooperbench.interrupts import first_ctrl_c
from cooperbench.pool import desk
from cooperbench.runner.trial import Bench, Trial
from cooperbench.runs import TrialDirectory

_PATIENCE = 15
"""Seconds the trials under way are given to end when the run is being stopped."""

_LOOK_AGAIN: Future[Any] = Future()
"""Stands for an image that has come or failed, among the futures that are done."""


class Schedule:
    """Runs trials and judges them."""

    def __init__(self, bench: Bench, tasks: Mapping[tuple[str, int], Task], supply: Supply) -> None:
        self._bench = bench
        self._tasks = tasks
        self._supply = supply
        self._todo: list[TrialDirectory] = []
        self._unjudged: list[TrialDirectory] = []
        self._trials: dict[Future[TrialFinished], tuple[TrialDirectory, Trial]] = {}
        self._judgements: dict[Future[Judged], tuple[TrialDirectory, EndableBackend]] = {}
        self._done: SimpleQueue[Future[Any] | None] = SimpleQueue()

    def carry_out(self, todo: Iterable[TrialDirectory], unjudged: Iterable[TrialDirectory]) -> bool:
        """Run `todo`, judge these and `unjudged`; whether it came to its end, or was stopped by Ctrl-C."""
        self._todo.extend(todo)
        self._unjudged.extend(unjudged)
        self._supply.hear(lambda: self._done.put(_LOOK_AGAIN))
        with first_ctrl_c(self._ask_to_stop):
            try:
                return self._work_off()
            except Exception:  # a full disk, a terminal that is gone
                self._end_all()
                raise

    def _work_off(self) -> bool:
        while self._start_what_fits():
            future = self._done.get()
            if future is None:
                self._stop()
                return False
            if future is not _LOOK_AGAIN:
                self._settle(future)
        return True

    # ------------------------------------------------------------------------------------------ starting

    def _start_what_fits(self) -> bool:
        """Fill every free place; whether anything is under way, or will be once its image is there."""
        spec = self._bench.spec
        while len(self._trials) < spec.concurrency and (directory := self._next_trial()) is not None:
            self._start_trial(directory)
        while len(self._judgements) < spec.eval_concurrency:
            place = self._supply.choose(map(self._task, self._unjudged), verdicts=True)
            if place is None:
                break
            self._start_judgement(self._unjudged.pop(place))
        return bool(self._trials or self._judgements or self._todo or self._unjudged)

    def _next_trial(self) -> TrialDirectory | None:
        """The next trial that can be run; none any more once the run's money is spent."""
        budget = self._bench.budget
        if not self._todo or not budget.exhausted:
            place = self._supply.choose(map(self._task, self._todo))
            return self._todo.pop(place) if place is not None else None
        left = len(self._todo)
        self._todo.clear()
        self._bench.tell(Note(budget.told(f"{left} trials were not started")))
        return None

    def _start_trial(self, directory: TrialDirectory) -> None:
        with desk:
            trial = Trial(self._bench, self._task(directory), directory)
        future = self._bench.crew.submit(partial(self._run, trial, directory))
        self._trials[future] = (directory, trial)
        future.add_done_callback(self._done.put)

    def _start_judgement(self, directory: TrialDirectory) -> None:
        backend = EndableBackend(self._bench.backend, self._bench.backend_name)
        future = self._bench.crew.submit(partial(self._judge, backend, directory))
        self._judgements[future] = (directory, backend)
        future.add_done_callback(self._done.put)

    def _run(self, trial: Trial, directory: TrialDirectory) -> TrialFinished:
        task = self._task(directory)
        try:
            self._supply.ready(task)
            self._bench.agent_images.ready(task.image)
        except SandboxStartError as problem:
            return trial.fail(problem)
        return trial.run()

    def _judge(self, backend: EndableBackend, directory: TrialDirectory) -> Judged:
        begun = time.monotonic()
        try:
            verdict, reused = self._supply.judge(
                self._task(directory), directory, self._bench.spec.judging, backend=backend
            )
        finally:
            self._bench.till.pay(backend.seconds)
        return judged_event(directory, verdict, time.monotonic() - begun, reused=reused)

    def _task(self, directory: TrialDirectory) -> Task:
        return self._tasks[directory.pair.repo, directory.pair.task_id]

    # ------------------------------------------------------------------------------------------ ending

    def _settle(self, future: Future[Any]) -> None:
        if future in self._judgements:
            directory, _ = self._judgements.pop(future)
            self._supply.finished(self._task(directory))
            error = future.exception()
            if error is not None and not isinstance(error, Exception):
                raise error
            self._bench.tell(future.result() if error is None else unjudged_event(directory, error))
            return
        directory, trial = self._trials.pop(future)
        error = future.exception()
        if error is not None and not isinstance(error, Exception):
            raise error
        finished = trial.fail(error) if error is not None else future.result()
        self._bench.tell(finished)
        if finished.status == "done" and self._bench.spec.auto_eval:
            self._unjudged.append(directory)
        else:
            self._supply.finished(self._task(directory))

    def _ask_to_stop(self) -> None:
        """Called by a signal handler, so it does the least there is."""
        self._done.put(None)

    def _stop(self) -> None:
        """Start nothing more, end what is under way, keep what was already done."""
        self._bench.tell(Note("stopping: ending the sandboxes (again Ctrl-C: leave at once)"))
        for future in self._end_all():
            if future.exception() is None:  # it was faster than we
                self._settle(future)

    def _end_all(self) -> set[Future[Any]]:
        """End what is under way, and wait for it; those that have ended."""
        self._supply.stop()
        for _, trial in list(self._trials.values()):
            trial.halt()
        for _, backend in list(self._judgements.values()):
            backend.end()
        under_way: list[Future[Any]] = [*self._trials, *self._judgements]
        return wait(under_way, timeout=_PATIENCE).done
