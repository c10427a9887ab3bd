"""Judging a run's trials each in a sandbox of its own, some at once."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, field

from cooperbench.dataset.model import Task
from cooperbench.eval.backends.base import EvalBackend
from cooperbench.eval.endable import UnderWay
from cooperbench.eval.expense import Till
from cooperbench.eval.judging import Judging, current_verdict, judged_event, unjudged_event
from cooperbench.eval.supply import Supply
from cooperbench.events import Judged, Note, Progress
from cooperbench.runs import TrialDirectory


@dataclass(frozen=True, slots=True)
class OneByOne:
    """What is asked of judging as a whole."""

    backend: EvalBackend
    supply: Supply
    judging: Judging
    till: Till
    force: bool
    tell: Progress
    _under_way: UnderWay = field(default_factory=UnderWay, init=False)

    def judge(self, work: Sequence[tuple[Task, TrialDirectory]], concurrency: int) -> None:
        """Judge trials, which are in the order of their images; each is stored, or its trouble noted, as it comes.

        Once the money is spent those that have a current verdict are told, and the others left for another time.
        """
        self._tell_the_price(work)
        self.supply.ready_first()
        then = "judges all anew" if self.force else "goes on with the rest"
        with self._under_way.none_left(self.supply.stop, self.tell, then):
            left = self._work_off(work, concurrency)
        if left:
            self.tell(Note(self.till.budget.told(f"{left} trials were not judged")))

    def _work_off(self, work: Sequence[tuple[Task, TrialDirectory]], concurrency: int) -> int:
        """How many there was no money left for."""
        left = 0
        with closing(
            self.supply.work_off(work, self._judge, concurrency, verdicts=not self.force)
        ) as results:
            for trial, result in results:
                if isinstance(result, Exception):
                    self.tell(unjudged_event(trial, result))
                elif result is None:
                    left += 1
                else:
                    self.tell(result)
        return left

    def _tell_the_price(self, work: Sequence[tuple[Task, TrialDirectory]]) -> None:
        if self.till.price is None:
            return
        unjudged = sum(1 for _, trial in work if self.force or trial.read_verdict() is None)
        if (line := self.till.forecast(unjudged)) is not None:
            self.tell(Note(line))

    def _judge(self, task: Task, trial: TrialDirectory) -> Judged | None:
        """None: there is no money left for it."""
        try:
            if self.till.budget.exhausted and not self._is_judged(task, trial):
                return None
            return self._paid(task, trial)
        finally:
            self.supply.finished(task)

    def _is_judged(self, task: Task, trial: TrialDirectory) -> bool:
        if self.force:
            return False
        return current_verdict(task, trial, self.judging, self.supply.ready(task)) is not None

    def _paid(self, task: Task, trial: TrialDirectory) -> Judged:
        begun = time.monotonic()
        name = getattr(self.backend, "name", type(self.backend).__name__)
        with self._under_way.one(self.backend, name) as backend:
            try:
                verdict, reused = self.supply.judge(
                    task, trial, self.judging, force=self.force, backend=backend
                )
            finally:
                self.till.pay(backend.seconds)
        return judged_event(trial, verdict, time.monotonic() - begun, reused=reused)
