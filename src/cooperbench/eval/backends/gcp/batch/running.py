"""One batch after another until every work has its outcome: submitted once, followed, taken up again, cleaned up."""

from __future__ import annotations

import logging
import math
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, TypeVar

from cooperbench.errors import BackendError, UsageError
from cooperbench.eval.backends.batch import Ledger, Outcome, Wishes, Work
from cooperbench.eval.backends.gcp import owner, trouble
from cooperbench.eval.backends.gcp.batch import cost
from cooperbench.eval.backends.gcp.batch.pace import Pace
from cooperbench.eval.backends.gcp.batch.packing import ordered, pack_all
from cooperbench.eval.backends.gcp.batch.parts import outcomes
from cooperbench.eval.backends.gcp.batch.record import Record, from_json, new_identity
from cooperbench.eval.backends.gcp.config import Settings
from cooperbench.eval.backends.gcp.jobs import Jobs, Order, State, prefix
from cooperbench.eval.backends.gcp.machines import PRICES_OF, machine
from cooperbench.eval.backends.gcp.store import Store
from cooperbench.eval.backends.gcp.trouble import Refused

T = TypeVar("T")

log = logging.getLogger(__name__)

_MOST_SLOTS = 5000
"""Tasks that run at once in one job, the service's limit."""
_ROUNDS = 3
"""Batches for one set of works: what was begun on machines that were taken away for good goes into the next."""
_SLICE = 0.2
"""Seconds in which somebody who wants to leave is noticed."""
_FAILURES = 20
"""Looks that may fail one after another before they are trouble."""
_QUEUED = 2 * 86400
"""Seconds the service lets a job wait for machines."""
_AGAIN = 2 * 86400
"""Seconds for tasks begun again on other machines: nobody sweeps a batch before all of that is over."""
_FLUSH = 20
"""Seconds a slot gathers outcomes before it writes the first of them; twice that for the next, up to eight times."""
_PARTS = 3
"""Objects that the outcomes of a chunk become, at most, unless they are large; each is read once."""


class Batches:
    """The works of one `run_jobs`."""

    def __init__(self, store: Store, jobs: Jobs, ledger: Ledger, wishes: Wishes) -> None:
        self._store = store
        self._jobs = jobs
        self._settings: Settings = jobs.settings
        self._ledger = ledger
        self._wishes = wishes
        self._told: set[str] = set()
        self._failures = 0
        self._why = ""
        """The last batch's last words."""
        self._over = False
        """No further batch is to be submitted."""

    def outcomes(self, works: Sequence[Work]) -> Iterator[tuple[str, Outcome]]:
        """See `batch.BatchBackend.run_jobs`."""
        todo = {work.key: work for work in works}
        found = self._ledger.read()
        if found is not None:
            yield from self._take_up(self._ours(from_json(found)), todo)
        for _ in range(_ROUNDS):
            if not todo or self._over or self._wishes.stopped():
                break
            before = len(todo)
            yield from self._follow(self._submit(list(todo.values())), todo, fresh=True)
            if len(todo) == before:  # nothing came of it, nor would it of another
                break
        if not self._wishes.stopped():
            for key in todo:
                yield key, BackendError(f"the batch ended without it: {self._why}")

    def _ours(self, record: Record) -> Record:
        here = (self._settings.project_id, self._settings.region, self._settings.bucket)
        there = (record.project, record.region, record.bucket)
        if here != there:
            raise UsageError(
                f"this run has a batch under way in project {there[0]}, region {there[1]}, bucket {there[2]}; judge it "
                f"with these settings, not {', '.join(here)}"
            )
        return record

    # ------------------------------------------------------------------------------------------ submitting

    def _take_up(self, record: Record, todo: dict[str, Work]) -> Iterator[tuple[str, Outcome]]:
        """A batch whose harness was killed, at whatever instant."""
        place = prefix(record.job_id)
        state = self._jobs.look(record.job_id)
        if state.name == "GONE" and not record.submitted:
            if self._store.read(f"{place}/manifest") is None:  # it cannot have been submitted
                self._store.remove(f"{place}/")
                self._ledger.clear({})
                return
            self._send(record)
        elif not record.submitted:  # noted before it ends, after which it would seem never to have been
            self._ledger.write(replace(record, submitted=True).to_json())
        self._wishes.tell(f"going on with batch {record.job_id} of {len(record.keys)} judgements")
        yield from self._follow(record, todo, fresh=False)

    def _submit(self, works: Sequence[Work]) -> Record:
        works = ordered(works)
        slots = min(self._wishes.concurrency, len(works), _MOST_SLOTS)
        together = min(machine(self._settings.machine_type).slots(self._settings.slots), slots)
        spot = self._settings.batch_spot
        guess = cost.estimate(self._settings, works, slots, together, spot)
        cost.hold(guess, self._wishes.budget, self._settings.machine_type)
        self._wishes.tell(f"{len(works)} judgements on {guess.told(self._settings, spot)}")
        with tempfile.TemporaryFile(prefix="cooperbench-batch-") as file:
            packed = pack_all(works, slots, self._settings, file)
            seconds = 3600 + 2 * math.ceil(len(works) / slots) * packed.longest
            record = self._recorded(works, slots, together, seconds)
            size = file.tell()
            file.seek(0)
            self._ledger.write(record.to_json())
            self._store.create_from(f"{prefix(record.job_id)}/work", file, size)
        self._store.create(f"{prefix(record.job_id)}/manifest", packed.manifest)
        self._send(record)
        self._wishes.tell(
            f"batch {record.job_id} is submitted; should this end, the same command goes on with it"
        )
        return record

    def _recorded(self, works: Sequence[Work], slots: int, together: int, seconds: float) -> Record:
        job_id, request_id = new_identity()
        settings = self._settings
        return Record(
            job_id=job_id,
            request_id=request_id,
            project=settings.project_id,
            region=settings.region,
            bucket=settings.bucket,
            machine_type=settings.machine_type,
            keys=tuple(work.key for work in works),
            slots=slots,
            together=together,
            seconds=seconds,
            spot=settings.batch_spot,
            labels=owner.labels("batch", seconds + _QUEUED + _AGAIN, self._wishes.labels),
        )

    def _send(self, record: Record) -> None:
        order = Order(
            record.job_id,
            "batch",
            record.slots,
            record.together,
            record.seconds,
            record.spot,
            record.labels,
            {"COOPERBENCH_FLUSH": str(_FLUSH), "COOPERBENCH_PARTS": str(_PARTS)},
            retried=True,
        )
        settings = replace(self._settings, machine_type=record.machine_type)
        try:
            self._jobs.submit(order, record.request_id, settings)
        except Refused as refused:
            if refused.status < 500:  # there is none, and there will be none
                self._store.remove(f"{prefix(record.job_id)}/")
                self._ledger.clear({})
            raise
        self._ledger.write(replace(record, submitted=True).to_json())

    # ------------------------------------------------------------------------------------------ following

    def _follow(self, record: Record, todo: dict[str, Work], *, fresh: bool) -> Iterator[tuple[str, Outcome]]:
        """What comes of a batch, as it comes; then the batch is removed, unless it is left going."""
        seen: set[str] = set()
        state, pace = State("UNKNOWN"), Pace(time.monotonic())
        meter = cost.Meter(self._jobs, record, self._wishes.budget)
        if fresh:
            meter.begins()
        while True:
            if pace.wants_to_ask(time.monotonic()):
                state = self._patiently(partial(self._jobs.look, record.job_id), state)
                self._tell(state)
                pace.asked(time.monotonic(), runs=state.name == "RUNNING")
            before = len(seen)
            if state.over or pace.has_begun:
                yield from self._new(record, todo, seen)
            if len(seen) > before:
                pace.heard(time.monotonic())
            left = len(todo.keys() & set(record.keys))
            if state.over or not left:
                self._why = trouble.last_words(state.events, state.name)
                break
            if self._patiently(meter.is_spent, False):
                self._end(f"--max-cost of ${self._wishes.budget.run_limit:g} is spent")
                break
            if self._stopped_within(pace.pause(time.monotonic(), len(record.keys) - left, left)):
                self._end("it was cancelled")
                if not self._wishes.cancel():
                    return
                break
        yield from self._finish(record, meter, todo, seen)

    def _new(self, record: Record, todo: dict[str, Work], seen: set[str]) -> Iterator[tuple[str, Outcome]]:
        nothing: list[str] = []
        listing = partial(self._store.names, f"{prefix(record.job_id)}/results/")
        for name in self._patiently(listing, nothing):
            if name in seen:
                continue
            content = self._patiently(partial(self._store.read, name), None)
            if content is None:
                continue
            seen.add(name)
            try:
                for number, outcome in outcomes(content):
                    key = record.keys[number] if number < len(record.keys) else ""
                    if todo.pop(key, None) is not None:
                        yield key, outcome
            except BackendError as problem:
                log.warning("%s: %s", name, problem)

    def _patiently(self, call: Callable[[], T], otherwise: T) -> T:
        """What `call` gives, or `otherwise` after trouble that may pass, unless there is no end to it."""
        try:
            found = call()
        except BackendError as problem:
            self._failures += 1
            if self._failures > _FAILURES or not trouble.may_pass(problem):
                raise
            log.warning("the batch is looked at again after: %s", problem)
            return otherwise
        self._failures = 0
        return found

    def _tell(self, state: State) -> None:
        for line in trouble.notable(state.events, self._told):
            self._wishes.tell(f"the batch waits: {line}")
        running = f"batch {state.name.lower()}"
        if state.name != "UNKNOWN" and running not in self._told:
            self._told.add(running)
            self._wishes.tell(running)

    def _stopped_within(self, seconds: float) -> bool:
        until = time.monotonic() + seconds
        while not self._wishes.stopped() and (left := until - time.monotonic()) > 0:
            time.sleep(min(left, _SLICE))
        return self._wishes.stopped()

    def _end(self, why: str) -> None:
        self._over, self._why = True, why

    # ------------------------------------------------------------------------------------------ ending

    def _finish(
        self, record: Record, meter: cost.Meter, todo: dict[str, Work], seen: set[str]
    ) -> Iterator[tuple[str, Outcome]]:
        """Account for a batch, end it and leave nothing of it; the ledger forgets it last."""
        account = dict(record.account) or self._account(record, meter)
        self._ledger.write(replace(record, submitted=True, account=account).to_json())
        ending = self._jobs.delete(record.job_id)
        if self._over:  # what was paid for is kept
            yield from self._new(record, todo, seen)
        self._jobs.await_end([ending])
        self._store.remove(f"{prefix(record.job_id)}/")
        self._ledger.clear(account)

    def _account(self, record: Record, meter: cost.Meter) -> dict[str, Any]:
        judged = {"batch": record.job_id, "judgements": len(record.keys)}
        try:
            seconds, dollars = meter.count()
        except BackendError as problem:  # it was deleted under us
            log.warning("what batch %s has cost is not known: %s", record.job_id, problem)
            return judged
        told = "" if dollars is None else f", about ${dollars:.2f}"
        self._wishes.tell(f"batch {record.job_id} is over: {seconds:.0f} machine seconds{told} (estimate)")
        return {
            **judged,
            "machine_type": record.machine_type,
            "spot": record.spot,
            "machine_seconds": round(seconds, 1),
            "dollars_estimated": None if dollars is None else round(dollars, 6),
            "prices_of": PRICES_OF,
        }
