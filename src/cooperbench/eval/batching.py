"""Judging a run's trials as one batch, on a backend that has that road: the same Jobs, the same verdicts."""

from __future__ import annotations

import contextlib
import hashlib
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from cooperbench.budget import Budget
from cooperbench.dataset.model import Dataset, Task
from cooperbench.errors import BackendError, CooperBenchError, JudgeError, SandboxStartError
from cooperbench.eval.backends.batch import BatchBackend, Outcome, Wishes, Work
from cooperbench.eval.job import Job
from cooperbench.eval.judging import (
    Judging,
    is_current,
    judge_output,
    judged_event,
    plan_of,
    unjudged_event,
)
from cooperbench.eval.plan import Plan
from cooperbench.eval.supply import Supply
from cooperbench.events import Judged, Note, Progress
from cooperbench.interrupts import first_ctrl_c
from cooperbench.runs import RunDirectory, TrialDirectory, finished

JUDGEMENTS_IN_A_BATCH = 100
"""At once, where nobody says otherwise."""

_TO_CANCEL = 10.0
"""Seconds to press Ctrl-C again."""
_SLICE = 0.1
"""Seconds in which it is noticed."""


@dataclass(frozen=True, slots=True)
class _Entry:
    """A trial to be judged. Its plan is made each time it is needed: ten thousand of them would be gigabytes."""

    trial: TrialDirectory
    task: Task
    judging: Judging
    digest: str | None

    def plan(self) -> Plan:
        return plan_of(self.task, self.trial, self.judging, self.digest)

    def job(self) -> Job:
        return replace(self.plan().job, image=self.image)

    @property
    def image(self) -> str:
        """As machines pull it: with the digest, where one is known, so that it can be no other."""
        name = self.task.image
        return f"{name}@{self.digest}" if self.digest is not None and "@" not in name else name


@dataclass(frozen=True, slots=True)
class _Ledger:
    """A `batch.Ledger` in the run's directory."""

    run: RunDirectory

    def read(self) -> dict[str, Any] | None:
        return self.run.read_batch()

    def write(self, record: Mapping[str, Any]) -> None:
        self.run.write_batch(record)

    def clear(self, account: Mapping[str, Any]) -> None:
        self.run.clear_batch(account)

    def keys(self) -> frozenset[str]:
        """The works of a batch that is under way."""
        named = (self.read() or {}).get("keys")
        return frozenset(map(str, named)) if isinstance(named, list) else frozenset()


@dataclass(frozen=True, slots=True)
class Batch:
    """What is asked of judging as a whole."""

    run: RunDirectory
    dataset: Dataset
    judging: Judging
    concurrency: int
    budget: Budget
    force: bool
    tell: Progress
    frozen: Mapping[str, str] = field(default_factory=dict)
    """Digests of images that are to be no others."""

    def judge(self, backend: BatchBackend, trials: Sequence[TrialDirectory]) -> None:
        """Judge trials that have no current verdict, and those of an earlier batch that is still under way.

        Raises:
            BackendError: the batch cannot be had. UsageError: it would cost too much. KeyboardInterrupt: Ctrl-C.
        """
        ledger = _Ledger(self.run)
        entries = self._pending(backend, trials, ledger.keys())
        if not entries and ledger.read() is None:
            return
        works = [Work(key, entry.image, entry.job) for key, entry in entries.items()]
        presses: list[bool] = []  # of Ctrl-C; appended to by a signal handler, which must not take a lock
        wishes = Wishes(
            self.concurrency,
            self.budget,
            {"run": self.run.name},
            self._note,
            lambda: bool(presses),
            lambda: self._cancelled(presses),
        )
        with first_ctrl_c(lambda: presses.append(True), times=2):
            try:
                for key, outcome in backend.run_jobs(works, ledger, wishes):
                    self.tell(_judged(backend, entries[key], outcome))
            except KeyboardInterrupt:  # a third press: at once
                if ledger.read() is not None:
                    self._note(
                        "left at once; the same command goes on with the batch, or with clearing it up"
                    )
                raise
        if presses:
            raise KeyboardInterrupt

    def _pending(
        self, backend: BatchBackend, trials: Sequence[TrialDirectory], under_way: frozenset[str]
    ) -> dict[str, _Entry]:
        """By key; trials that need no judging, or cannot be judged, are told of."""
        chosen = {trial.path for trial in trials}
        others = [t for t in self.run.trials() if t.path not in chosen] if under_way else []
        with Supply(backend, map(self._task, [*trials, *others]), self.tell) as supply:
            supply.ready_all()
            return self._looked_through(trials, others, supply, under_way)

    def _looked_through(
        self,
        trials: Sequence[TrialDirectory],
        others: Sequence[TrialDirectory],
        supply: Supply,
        under_way: frozenset[str],
    ) -> dict[str, _Entry]:
        found: dict[str, _Entry] = {}
        for trial in trials:
            try:
                entry, key, stored = self._looked_at(trial, supply)
            except (JudgeError, SandboxStartError) as problem:
                self.tell(unjudged_event(trial, problem))
                continue
            if stored is not None and not self.force:
                self.tell(judged_event(trial, stored, 0.0, reused=True))
            else:
                found[key] = entry
        # What an earlier invocation has paid for is not thrown away because this one asks for less.
        for trial in filter(lambda each: finished(each.read_result()), others):
            with contextlib.suppress(JudgeError, SandboxStartError):
                entry, key, stored = self._looked_at(trial, supply)
                if key in under_way and stored is None:
                    found[key] = entry
        return found

    def _looked_at(self, trial: TrialDirectory, supply: Supply) -> tuple[_Entry, str, dict[str, Any] | None]:
        """The trial as an entry, its key, and its verdict if it has one that holds."""
        task = self._task(trial)
        digest = supply.ready(task) or self.frozen.get(task.image)
        entry = _Entry(trial, task, self.judging, digest)
        plan = entry.plan()
        stored = trial.read_verdict()
        return entry, _key(trial, plan), stored if stored is not None and is_current(stored, plan) else None

    def _task(self, trial: TrialDirectory) -> Task:
        return self.dataset.task(trial.pair.repo, trial.pair.task_id)

    def _note(self, text: str) -> None:
        self.tell(Note(text))

    def _cancelled(self, presses: Sequence[bool]) -> bool:
        """Asked after the first Ctrl-C; the second one is the answer, also where it came before the question."""
        self._note(
            "the batch goes on without this harness, and the same command takes it up; "
            f"Ctrl-C within {_TO_CANCEL:g} s cancels it"
        )
        until = time.monotonic() + _TO_CANCEL
        while len(presses) < 2 and time.monotonic() < until:
            time.sleep(_SLICE)
        if len(presses) < 2:
            return False
        self._note(
            "cancelling the batch: its machines end, what was judged is kept (again Ctrl-C: leave at once)"
        )
        return True


def _judged(backend: BatchBackend, entry: _Entry, outcome: Outcome) -> Judged:
    try:
        if isinstance(outcome, BackendError):
            raise outcome
        verdict = judge_output(backend, entry.trial, entry.plan(), outcome)
    except CooperBenchError as problem:
        return unjudged_event(entry.trial, problem)
    return judged_event(entry.trial, verdict, sum(outcome.timings.values()), reused=False)


def _key(trial: TrialDirectory, plan: Plan) -> str:
    """Which trial, and everything its verdict depends on."""
    inputs = json.dumps(dict(plan.inputs), sort_keys=True).encode()
    return f"{trial.setting}/{trial.pair.name}@{hashlib.sha256(inputs).hexdigest()[:16]}"
