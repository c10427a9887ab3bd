"""One agent's line to its model: checks what may pass, counts what did, keeps it if asked to."""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from cooperbench.budget import Purse
from cooperbench.gateway.access import Source
from cooperbench.gateway.calls import Call, CallError, Reply, read_call, refusal
from cooperbench.gateway.prices import Prices
from cooperbench.gateway.recording import DivergedError, Recorded
from cooperbench.gateway.usage import Usage, read_usage

PASSING = frozenset({408, 409, 425, 429, *range(500, 600)})
"""Statuses that say "not now": clients try again, so they are no part of what happened."""
_LAST_ANSWERS = 5.0
"""Seconds a line that is closed waits for calls under way; after that what they cost is not known."""
_LONGEST = 64 * 1024 * 1024
"""Bytes of one request."""

Keep = Callable[[Mapping[str, Any]], None]
"""Takes one call as it is recorded."""


@dataclass(frozen=True, slots=True)
class Figures:
    """All answered calls of a line."""

    calls: int
    cost: float | None
    """US dollars; None as soon as the cost of one call is not known."""
    input_tokens: int | None
    """None as soon as the provider has told of no usage for one call; likewise those below."""
    output_tokens: int | None
    cache_read_tokens: int | None
    cache_write_tokens: int | None


@dataclass(frozen=True, slots=True)
class Terms:
    """What a line goes by."""

    source: Source
    prices: Prices
    priced_as: str
    """The model's name in the price table."""
    purse: Purse
    most_calls: int | None = None
    keep: Keep | None = None


class Keeper(Protocol):
    """Who has the door for frameworks in this process."""

    def admit(self, line: Line) -> str:
        """Let its token in; the door's URL."""
        ...

    def dismiss(self, line: Line) -> None:
        """Let it in no more."""
        ...


class Line:
    """Safe to use from any thread; `url` is where frameworks in this process find it."""

    def __init__(self, agent_id: str, terms: Terms, keeper: Keeper) -> None:
        self.agent_id = agent_id
        self.token = f"cb-{secrets.token_hex(24)}"
        """Good for this line only, until it is closed."""
        self.trouble: str | None = None
        """Why the agent's work is not to be believed: a replay that took another course."""
        self._terms = terms
        self._keeper = keeper
        self._usages: list[tuple[Usage | None, float | None]] = []
        self._numbers = 0
        self._answered_in_vain = 0
        self._under_way = 0
        self._refused: str | None = None
        self._closed = False
        self._lock = threading.Lock()
        self._settled = threading.Condition(self._lock)

    @property
    def model(self) -> str:
        """The name to use for the model; whatever name a framework uses, this is who answers."""
        return self._terms.source.model

    @property
    def dialects(self) -> tuple[str, ...]:
        """The protocols it speaks."""
        return self._terms.source.dialects

    @property
    def url(self) -> str:
        """Base URL on this machine's loopback, without ``/v1``."""
        return self._keeper.admit(self)

    @property
    def over_limit(self) -> str | None:
        """Why there are no more answers: a limit that was reached. None while there are."""
        return self._refused

    @property
    def last_cost(self) -> float | None:
        """US dollars of the call answered last."""
        with self._lock:
            return self._usages[-1][1] if self._usages else None

    @property
    def spent(self) -> float:
        """US dollars of those calls whose cost is known."""
        with self._lock:
            return sum(cost or 0.0 for _, cost in self._usages)

    def figures(self) -> Figures:
        """What all calls came to so far."""
        with self._lock:
            usages = [usage for usage, _ in self._usages]
            costs = [cost for _, cost in self._usages]
            # What is still being answered costs something too, and nobody knows what.
            unfinished = self._under_way > 0
        unknown = unfinished or None in usages

        def total(name: str) -> int | None:
            return None if unknown else sum(getattr(usage, name) for usage in usages)

        return Figures(
            len(usages),
            None if unfinished or None in costs else sum(cost for cost in costs if cost is not None),
            total("input_tokens"),
            total("output_tokens"),
            total("cache_read_tokens"),
            total("cache_write_tokens"),
        )

    def close(self) -> None:
        """No more answers: the agent is done, whatever it has left running."""
        self._closed = True
        self._keeper.dismiss(self)
        with self._settled:  # what a program asked last and did not wait for has its price all the same
            self._settled.wait_for(lambda: self._under_way == 0, timeout=_LAST_ANSWERS)
        source = self._terms.source
        if isinstance(source, Recorded) and source.unasked and self.trouble is None:
            self.trouble = (
                f"the replay has taken another course: {source.unasked} recorded calls were not made"
            )

    def answer(self, path: str, content: bytes, headers: Mapping[str, str] | None = None) -> Reply:
        """The reply to one request; there always is one."""
        try:
            if self._closed:
                raise CallError(401, "this agent's time is over")
            if len(content) > _LONGEST:
                raise CallError(413, f"the request has more than {_LONGEST >> 20} MiB")
            call = self._adapted(read_call(path, content, headers))
            return self._answered(self._admit(), call)
        except CallError as problem:
            if isinstance(problem, DivergedError):
                self.trouble = self.trouble or f"the replay has taken another course: {problem}"
            return refusal(problem.status, str(problem))

    def _answered(self, number: int, call: Call) -> Reply:
        asked = time.time()
        counts = False
        try:
            reply = self._terms.source.answer(call)
            if reply.status not in PASSING:
                counts = True
                self._count(number, asked, call, reply)
            return reply
        finally:
            with self._lock:
                self._under_way -= 1
                self._answered_in_vain += not counts
                self._settled.notify_all()

    def _adapted(self, call: Call) -> Call:
        """The same call for the run's model, such that its usage is told."""
        terms = self._terms
        if call.dialect not in terms.source.dialects:
            spoken = ", ".join(terms.source.dialects)
            raise CallError(404, f"model {self.model} is not reached by {call.dialect} but by {spoken}")
        body = dict(call.body)
        if call.dialect != "generate":
            body["model"] = self.model
        if call.dialect == "chat" and call.streamed:
            options = body.get("stream_options")
            body["stream_options"] = {**(options if isinstance(options, dict) else {}), "include_usage": True}
        return Call(call.dialect, body, call.streamed, call.headers)

    def _admit(self) -> int:
        """The number of a call that may be made."""
        terms = self._terms
        with self._lock:
            if terms.purse.exhausted:
                self._refused = f"the trial has spent ${terms.purse.spent:.2f}, more it may not"
            elif terms.most_calls is not None and self._numbers - self._answered_in_vain >= terms.most_calls:
                self._refused = f"{terms.most_calls} calls to the model have been made, more it may not"
            if self._refused is not None:
                raise CallError(402, self._refused)
            self._numbers += 1
            self._under_way += 1
            return self._numbers

    def _count(self, number: int, asked: float, call: Call, reply: Reply) -> None:
        terms = self._terms
        if reply.status < 400:
            usage = read_usage(call.dialect, reply)
            cost = terms.prices.cost(terms.priced_as, usage) if usage is not None else None
            with self._lock:
                self._usages.append((usage, cost))
            terms.purse.spend(cost or 0.0)
        if terms.keep is not None:
            terms.keep(
                {
                    "number": number,
                    "asked_at": asked,
                    "answered_at": time.time(),
                    "dialect": call.dialect,
                    "streamed": call.streamed,
                    "request": call.body,
                    "status": reply.status,
                    "kind": reply.kind,
                    "reply": reply.body.decode("utf-8", "replace"),
                }
            )
