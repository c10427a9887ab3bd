"""The agents of one trial, all of them at work at the same time: they start together and are waited for together."""

from __future__ import annotations

import threading
import time
import traceback
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from functools import partial
from queue import Empty, SimpleQueue
from typing import Any, Literal

from cooperbench.agents.base import ERROR, AgentResult
from cooperbench.crew import Crew
from cooperbench.errors import BackendError, CooperBenchError
from cooperbench.eval.backends.base import EvalBackend, SandboxSpec
from cooperbench.pool import describe
from cooperbench.runner.models import metered
from cooperbench.runner.repository import Taken
from cooperbench.runner.seat import Seat, Work


class InterruptedTrialError(CooperBenchError):
    """The run is being stopped; nothing is said about this trial."""


_News = Future[Work | None] | Literal["ready", "halt"]


class Team:
    """Some seats, each in a thread of its own; the caller's thread waits for them."""

    def __init__(self, seats: Sequence[Seat], crew: Crew, finished: Callable[[Seat, Work], None]) -> None:
        """A team whose agents' ends are told to `finished`, from any thread."""
        self.seats = tuple(seats)
        self._crew = crew
        self._finished = finished
        self._news: SimpleQueue[_News] = SimpleQueue()
        self._openings: list[threading.Event] = []
        self._ready = threading.Barrier(len(self.seats), action=lambda: self._news.put("ready"))

    def work(
        self, backend: EvalBackend, sandbox: Callable[[Seat], SandboxSpec], seconds: float
    ) -> dict[Seat, Work]:
        """Open every seat, then let all agents work at once, for `seconds` at most; what each came to.

        Raises:
            BackendError: the infrastructure failed one of them, and the others are in vain.
            InterruptedTrialError: `halt` was called.
        """
        under_way = {self._begin(seat, backend, sandbox(seat)): seat for seat in self.seats}
        done: dict[Seat, Work] = {}
        deadline: float | None = None
        while under_way:
            news = self._next(deadline)
            if news == "halt":
                raise InterruptedTrialError("the run is being stopped")
            if news == "ready":
                deadline = time.monotonic() + seconds
            elif news is None:
                deadline = None
                self._expire(under_way, done)
            elif news in under_way:  # not one that has expired
                seat = under_way.pop(news)
                if (work := self._result(seat, news)) is not None:
                    done[seat] = work
        return {seat: done[seat] for seat in self.seats}

    def halt(self) -> None:
        """Make `work` end now; the agents end when their sandboxes do."""
        self._news.put("halt")

    def close(self) -> None:
        """End every sandbox; safe from any thread."""
        for seat in self.seats:
            seat.close()

    def settle(self) -> None:
        """Wait for sandboxes that are still being made; after `close` they are ended as soon as they are there."""
        for opening in self._openings:
            opening.wait()

    def _begin(self, seat: Seat, backend: EvalBackend, spec: SandboxSpec) -> Future[Work | None]:
        self._openings.append(threading.Event())
        future = self._crew.submit(partial(self._serve, seat, backend, spec, self._openings[-1]))
        future.add_done_callback(self._news.put)
        return future

    def _serve(
        self, seat: Seat, backend: EvalBackend, spec: SandboxSpec, opening: threading.Event
    ) -> Work | None:
        """One agent's thread."""
        opened = False
        try:
            seat.open(backend, spec)
            opened = True
        finally:
            opening.set()
            if not opened:
                self._ready.abort()  # nobody else need wait for this one
        try:
            self._ready.wait()
        except threading.BrokenBarrierError:
            return None  # a teammate's sandbox could not be made, and its thread says why
        work = seat.work()
        if work is not None:
            self._finished(seat, work)
        return work

    def _next(self, deadline: float | None) -> _News | None:
        """What happens next; None when time is over."""
        try:
            return self._news.get(timeout=None if deadline is None else max(0.0, deadline - time.monotonic()))
        except Empty:
            return None

    def _expire(self, under_way: dict[Future[Any], Seat], done: dict[Seat, Work]) -> None:
        """Take what those have who do not end by themselves; one that is just ending is left to it."""
        for future, seat in list(under_way.items()):
            work = seat.expire()
            if work is not None:
                del under_way[future]
                done[seat] = work
                self._finished(seat, work)

    def _result(self, seat: Seat, future: Future[Work | None]) -> Work | None:
        """What an agent came to: a framework's failure is its status. None for one that never began."""
        error = future.exception()
        if error is None:
            return future.result()
        if isinstance(error, BackendError) or self._ready.broken or not isinstance(error, Exception):
            raise error
        told = {"traceback": "".join(traceback.format_exception(error))}
        result = AgentResult(ERROR, error=describe(error), messages=[told])
        failed = Work(metered(result, seat.line), Taken(b""), 0.0)
        self._finished(seat, failed)
        return failed
