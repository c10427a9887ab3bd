"""Requests to the bus from outside the harness's process, by way of a Redis server: both ends of it."""

from __future__ import annotations

import contextlib
import json
import secrets
import threading
from typing import Any

from cooperbench.collaboration.bus import Bus
from cooperbench.collaboration.journal import TEXT_LIMIT
from cooperbench.collaboration.mailbox import BusMailbox
from cooperbench.collaboration.outside import Outpost, RedisServer
from cooperbench.collaboration.requests import Answer, Later, serve
from cooperbench.errors import BackendError, UsageError

_LONGEST = 3 * TEXT_LIMIT
"""Bytes of a request as JSON that are looked at."""
_LAST = 15
"""Seconds that a request under way may take when the door is closed."""
_WAITING = 64
"""Requests that may wait at the same time."""


class Door:
    """Serves requests from outside, from `open` to `close`, by the same rules as those from sandboxes."""

    def __init__(self, outpost: Outpost, bus: Bus) -> None:
        self._outpost = outpost
        self._bus = bus
        self._known: set[str] = set()
        self._waiting = threading.BoundedSemaphore(_WAITING)
        self._stopped = threading.Event()
        self._server = threading.Thread(target=self._serve_all, name="bus-door", daemon=True)

    @property
    def url(self) -> str:
        """What agents outside are given; it holds a password that is worth something as long as the trial runs."""
        return self._outpost.url

    def open(self) -> None:
        """Begin serving, in the background.

        Raises:
            BackendError: the server does not let us.
        """
        self._outpost.open()
        self._server.start()

    def close(self) -> None:
        """Serve nothing new; nothing is under way when this returns. Calling it again is fine."""
        if not self._stopped.is_set():
            self._stopped.set()
            with contextlib.suppress(BackendError):
                self._outpost.ask(b"")  # so that nobody waits; once: the keys go after this
        if self._server.is_alive():
            self._server.join(_LAST)

    def _serve_all(self) -> None:
        try:
            while not self._stopped.is_set():
                raw = self._outpost.next_request(1)
                if raw is not None and not self._stopped.is_set():
                    self._serve(raw)
        except BackendError as problem:
            if not self._stopped.is_set():
                self._bus.fail(problem)

    def _serve(self, raw: bytes) -> None:
        asked = _asked(raw)
        if asked is None or asked[0] in self._known:  # nonsense, or asked again: it has its answer, or will
            return
        name, agent, request = asked
        self._known.add(name)
        try:
            answer = serve(request, BusMailbox(self._bus, agent), _no_bundle)
        except UsageError as problem:
            answer = Answer(1, f"coop: {problem}")
        if isinstance(answer, Answer):
            self._reply(name, answer)
        elif self._waiting.acquire(blocking=False):
            threading.Thread(target=self._wait, args=(name, answer), daemon=True).start()
        else:
            self._reply(name, Answer(1, "coop: too many calls are waiting already"))

    def _wait(self, name: str, later: Later) -> None:
        try:
            self._reply(name, later.wait())
        except BackendError as problem:
            if not self._stopped.is_set():
                self._bus.fail(problem)
        finally:
            self._waiting.release()

    def _reply(self, name: str, answer: Answer) -> None:
        if answer.files:
            answer = Answer(1, "coop: fetch needs a sandbox: use coop there")
        self._outpost.reply(name, json.dumps({"code": answer.code, "text": answer.text}).encode())


class Outsider:
    """An agent outside: `coop` for a process that has only the URL it was given."""

    def __init__(self, url: str, agent: str) -> None:
        """Args:
        url: what the assignment calls `bus_url`. agent: whose requests these are.
        """
        base, _, run = url.partition("#run:")
        self._server = RedisServer(base)
        self._run = run
        self._agent = agent

    def call(self, line: str, text: str = "", *, patience: float = 60) -> tuple[int, str]:
        """Ask as `coop` does (``send agent2``, ``inbox 30``, ``task claim``); exit code and text.

        Raises:
            BackendError: the server does not answer, or nobody serves this trial any more.
        """
        name = secrets.token_hex(8)
        request = {"id": name, "agent": self._agent, "request": f"{line}\n{text}"}
        with self._server.answering():
            self._server.client.rpush(f"cb:{self._run}:requests", json.dumps(request).encode())
            found = None
            while found is None and patience > 0:  # the library's own time limit is shorter than some waits
                found = self._server.client.blpop([f"cb:{self._run}:reply:{name}"], timeout=min(patience, 10))
                patience -= 10
        if found is None:
            raise BackendError(f"the bus of run {self._run} does not answer")
        answer = json.loads(found[1])
        return int(answer["code"]), str(answer["text"])

    def close(self) -> None:
        """Let go of the server."""
        self._server.close()


def _asked(raw: bytes) -> tuple[str, str, bytes] | None:
    """Id, agent and request; None for what is not one."""
    try:
        value: Any = json.loads(raw) if len(raw) <= _LONGEST else None
        name, agent, request = value["id"], value["agent"], value["request"]
    except (ValueError, TypeError, KeyError, RecursionError):
        return None
    if (
        not all(isinstance(part, str) for part in (name, agent, request))
        or not name.isalnum()
        or len(name) > 64
    ):
        return None
    return name, agent, request.encode("utf-8", "replace")


def _no_bundle() -> bytes:
    raise UsageError("push needs a sandbox: use coop there")
