"""Connects one sandbox to the bus through `exec` alone: no port, no network, any backend.

One thread asks the sandbox what its agent wants; one such call stays open until there is a request, brings it
here, and the next call takes the answer along. A request that waits for a message gets a thread of its own, so it
holds nobody up. Every request is served once: when a call fails, the next one repeats what was not answered, and
what is known already is not served again.
"""

from __future__ import annotations

import base64
import logging
import threading
from collections import deque
from functools import cache
from importlib import resources

from cooperbench.collaboration.bus import BusMailbox
from cooperbench.collaboration.requests import Answer, Call, read_call, serve, wait_of
from cooperbench.errors import BackendError, SandboxLost
from cooperbench.eval.backends import shell
from cooperbench.eval.backends.base import Sandbox

SPOOL = "/var/spool/coop"
COMMAND = "/usr/local/bin/coop"
_RELAY = f"{SPOOL}/relay.sh"

_IN_ARGV = 24 * 1024
"""Bytes of an answer that travel as an argument; longer ones as a file."""
_WAITING = 16
"""Requests of one sandbox that may wait at the same time."""
_RETRIES = 5
_PROMPT = 60
"""Seconds a call may take that only leaves an answer."""

_log = logging.getLogger(__name__)


@cache
def client_files() -> dict[str, bytes]:
    """What a sandbox needs for `coop` to work, by absolute path."""
    folder = resources.files("cooperbench.collaboration")
    return {
        COMMAND: (folder / "coop.sh").read_bytes(),
        _RELAY: (folder / "relay.sh").read_bytes(),
        **{f"{SPOOL}/{name}/.keep": b"" for name in ("ready", "taken", "work")},
    }


class Relay:
    """Serves one agent's `coop` from `start` to `stop` or to its sandbox's end."""

    def __init__(self, sandbox: Sandbox, mailbox: BusMailbox, *, patience: float = 25) -> None:
        """A relay for a sandbox that has `client_files`.

        Args:
            patience: seconds one call waits for a request before it is made anew.
        """
        self._sandbox = sandbox
        self._mailbox = mailbox
        self._patience = patience
        self._stopped = threading.Event()
        self._known: set[str] = set()  # requests being served
        self._waiting = threading.BoundedSemaphore(_WAITING)

    def start(self) -> None:
        """Begin serving, in the background."""
        threading.Thread(target=self._serve_all, name=f"relay-{self._mailbox.agent}", daemon=True).start()

    def stop(self) -> None:
        """Serve nothing new. The open call ends with the sandbox, or by itself after `patience`."""
        self._stopped.set()

    def _serve_all(self) -> None:
        answers: deque[tuple[str, Answer]] = deque()
        failures = 0
        again = False
        while not self._stopped.is_set():
            try:
                verb = "leave" if len(answers) > 1 else "again" if again else "wait"
                call, whole = self._call(verb, answers[0] if answers else None)
            except SandboxLost:
                return
            except BackendError as problem:
                failures += 1
                if failures > _RETRIES:
                    _log.warning("%s has lost its messages: %s", self._mailbox.agent, problem)
                    return
                again = True
                self._stopped.wait(0.1 * 2**failures)
                continue
            failures, again = 0, not whole or (again and verb == "leave")
            if answers and answers[0][0] in call.answered:
                self._answered(*answers.popleft(), call)
            for name, request in call.requests:
                if name not in self._known:
                    self._known.add(name)
                    self._take(name, request, answers)

    def _take(self, name: str, request: bytes, answers: deque[tuple[str, Answer]]) -> None:
        """Serve a request here, or have it wait elsewhere."""
        answer = serve(request, self._mailbox)
        empty = answer.code == 0 and not answer.messages
        if not (empty and wait_of(request) > 0):
            answers.append((name, answer))
        elif self._waiting.acquire(blocking=False):
            threading.Thread(target=self._wait, args=(name, request), daemon=True).start()
        else:
            answers.append((name, Answer(1, f"coop: {_WAITING} calls are waiting for messages already")))

    def _wait(self, name: str, request: bytes) -> None:
        answer = serve(request, self._mailbox, wait_of(request))
        try:
            for attempt in range(_RETRIES):
                try:
                    self._answered(name, answer, self._call("leave", (name, answer))[0])
                    return
                except SandboxLost:
                    return
                except BackendError as problem:
                    _log.warning("answering %s, attempt %d: %s", self._mailbox.agent, attempt + 1, problem)
                    self._stopped.wait(0.1 * 2**attempt)
        finally:
            self._waiting.release()

    def _answered(self, name: str, answer: Answer, call: Call) -> None:
        self._known.discard(name)
        if name in call.gone and answer.messages:
            self._mailbox.put_back(answer.messages)

    def _call(self, verb: str, answer: tuple[str, Answer] | None) -> tuple[Call, bool]:
        """One call of ``relay.sh``: what it said, and whether it came to its end or was ended for want of requests.

        Raises:
            BackendError: neither.
        """
        command = ["sh", _RELAY, verb]
        if answer is not None:
            command += [answer[0], self._carried(*answer)]
        done = shell.run(self._sandbox, command, timeout=_PROMPT if verb == "leave" else self._patience)
        if not done.timed_out and done.returncode != 0:
            raise BackendError(f"relay.sh ended with {done.returncode}: {done.stderr_read()[:200].strip()}")
        return read_call(done.stdout), not done.timed_out

    def _carried(self, name: str, answer: Answer) -> str:
        content = answer.to_bytes()
        if len(content) <= _IN_ARGV:
            return base64.b64encode(content).decode("ascii")
        place = f"{SPOOL}/answer.{name}"
        shell.put_files(self._sandbox, {place: content})
        return f"@{place}"
