"""Connects one sandbox to the bus through `exec` alone: no port, no network, any backend.

One thread asks the sandbox what its agent wants; one such call stays open until there is a request, brings it
here, and the next call takes the answers along. A request that must be waited for gets a thread of its own, so it
holds nobody up. Every request is served once: when a call fails, the next one repeats what was not answered, and
what is known already is not served again.
"""

from __future__ import annotations

import base64
import threading
from collections.abc import Callable
from dataclasses import asdict
from functools import cache, partial
from importlib import resources
from typing import TypeVar

from cooperbench.agents.base import Means
from cooperbench.collaboration.branches import BUNDLE_LIMIT
from cooperbench.collaboration.mailbox import BusMailbox
from cooperbench.collaboration.outbox import SHORT, Ledger, Outbox, pieces
from cooperbench.collaboration.requests import Answer, Call, Later, read_call, serve
from cooperbench.errors import BackendError, SandboxLost, UsageError
from cooperbench.eval.backends import shell
from cooperbench.eval.backends.base import Sandbox

SPOOL = "/var/spool/coop"
COMMAND = "/usr/local/bin/coop"
_RELAY = f"{SPOOL}/relay.sh"

_WAITING = 16
"""Requests of one sandbox that may wait at the same time."""
_RETRIES = 5
_IN_VAIN = 3
"""Calls one after the other that may bring nothing and take nothing before there is a pause."""
_PAUSE = 2.0
"""Seconds of the longest."""
_PROMPT = 60
"""Seconds a call may take that only leaves answers."""

Served = TypeVar("Served", bound=Answer | Later)


@cache
def _client_files() -> dict[str, bytes]:
    folder = resources.files("cooperbench.collaboration")
    return {
        COMMAND: (folder / "coop.sh").read_bytes(),
        _RELAY: (folder / "relay.sh").read_bytes(),
        f"{SPOOL}/mcp.py": (folder / "inside" / "mcp.py").read_bytes(),
        **{f"{SPOOL}/{name}/.keep": b"" for name in ("ready", "taken", "work")},
    }


def client_files(means: Means, base: str | None = None) -> dict[str, bytes]:
    """What a sandbox needs for `coop` to work, by absolute path.

    Args:
        means: what is switched on; `coop` speaks of nothing else.
        base: the commit that everybody starts from, for push and fetch.
    """
    parts = [part for part, on in asdict(means).items() if on]
    files = {f"{SPOOL}/means": "".join(f"{part}\n" for part in parts).encode()}
    if base is not None and means.git:
        files[f"{SPOOL}/base"] = f"{base}\n".encode()
    return _client_files() | files


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
        self._outbox = Outbox()
        self._ledger = Ledger()
        self._waiting = threading.BoundedSemaphore(_WAITING)
        self._leaving = threading.Lock()  # one call at a time beside the open one: what it prints is held

    def start(self) -> None:
        """Begin serving, in the background."""
        threading.Thread(target=self._serve_all, name=f"relay-{self._mailbox.agent}", daemon=True).start()

    def stop(self) -> None:
        """Serve nothing new. The open call ends with the sandbox, or by itself after `patience`."""
        self._stopped.set()

    def _serve_all(self) -> None:
        failures = idle = 0
        again = False
        while not self._stopped.is_set():
            batch = self._outbox.batch()
            verb = "leave" if len(self._outbox) > len(batch) else "again" if again else "wait"
            try:
                call, whole = self._call(verb, batch)
            except SandboxLost:
                return
            except BackendError as problem:
                failures += 1
                if failures > _RETRIES:
                    self._give_up(problem)
                    return
                again = True
                self._stopped.wait(0.1 * 2**failures)
                continue
            moved = self._settle(call)
            taken, all_taken = self._take_all(call)
            failures, again = 0, not (whole and all_taken) or (again and verb == "leave")
            idle = 0 if moved or taken or not whole else idle + 1
            if idle > _IN_VAIN:  # relay.sh waits for requests; a sandbox that does not must not keep us busy
                self._stopped.wait(min(0.05 * 2 ** (idle - _IN_VAIN), _PAUSE))

    def _settle(self, call: Call) -> int:
        """Forget the answers that were left; how many."""
        left = [(name, answer) for name in call.answered if (answer := self._outbox.drop(name)) is not None]
        for name, answer in left:
            self._answered(name, answer, call)
        return len(left)

    def _take_all(self, call: Call) -> tuple[int, bool]:
        """Serve the requests that are not served yet: how many, and whether these were all. A sandbox that takes no
        answers is asked for nothing: what it wants is told again when there is room."""
        taken = 0
        for name, request in call.requests:
            if self._outbox.full:
                return taken, False
            if self._ledger.begin(name):
                self._take(name, request)
                taken += 1
        return taken, not call.more

    def _take(self, name: str, request: bytes) -> None:
        """Serve a request here, or have it wait elsewhere."""
        answer = self._guarded(lambda: serve(request, self._mailbox, partial(self._bundle, name)))
        if isinstance(answer, Answer):
            self._outbox.add(name, answer)
        elif self._waiting.acquire(blocking=False):
            threading.Thread(target=self._wait, args=(name, answer), daemon=True).start()
        else:
            self._outbox.add(name, Answer(1, f"coop: {_WAITING} calls are waiting already"))

    def _wait(self, name: str, later: Later) -> None:
        try:
            self._leave(name, self._guarded(later.wait))
        finally:
            self._waiting.release()

    def _leave(self, name: str, answer: Answer) -> None:
        for attempt in range(_RETRIES + 1):
            try:
                with self._leaving:
                    call, _ = self._call("leave", [(name, answer)])
                self._answered(name, answer, call)
                return
            except SandboxLost:
                return
            except BackendError as problem:
                if attempt == _RETRIES:
                    self._give_up(problem)
                self._stopped.wait(0.1 * 2**attempt)

    def _give_up(self, problem: BackendError) -> None:
        """The sandbox is there and cannot be reached: what its agent does from now on is nobody's result."""
        if not self._stopped.is_set():
            self._mailbox.bus.fail(problem)

    def _guarded(self, work: Callable[[], Served]) -> Served | Answer:
        """What the work gives; a bus that has failed is the trial's end, and until then an answer like others."""
        try:
            return work()
        except SandboxLost as problem:
            return Answer(1, f"coop: {problem}")
        except BackendError as problem:
            self._mailbox.bus.fail(problem)
            return Answer(1, "coop: the bus has failed")

    def _answered(self, name: str, answer: Answer, call: Call) -> None:
        self._ledger.end(name)
        if name in call.gone and answer.messages:
            self._mailbox.put_back(answer.messages)

    def _bundle(self, name: str) -> bytes:
        """What a push brought; whatever is wrong with the files is the asker's doing."""
        try:
            files = shell.get_files(self._sandbox, f"{SPOOL}/work/{name}", BUNDLE_LIMIT + 1024 * 1024)
        except SandboxLost:
            raise
        except BackendError as problem:
            raise UsageError(f"the push cannot be taken: {problem}") from problem
        return files.get("bundle", b"")

    def _call(self, verb: str, answers: list[tuple[str, Answer]]) -> tuple[Call, bool]:
        """One call of ``relay.sh``: what it said, and whether it came to its end or was ended for want of requests.

        Raises:
            BackendError: neither.
        """
        command = ["sh", _RELAY, verb, *self._carried(answers)]
        done = shell.run(self._sandbox, command, timeout=_PROMPT if verb == "leave" else self._patience)
        if not done.timed_out and done.returncode != 0:
            raise BackendError(f"relay.sh ended with {done.returncode}: {done.stderr_read()[:200].strip()}")
        return read_call(done.stdout), not (done.timed_out or done.truncated)

    def _carried(self, answers: list[tuple[str, Answer]]) -> list[str]:
        """Arguments that bring these answers, their files put in place before."""
        arguments: list[str] = []
        files: dict[str, bytes] = {}
        for name, answer in answers:
            content = answer.to_bytes()
            files |= {f"{SPOOL}/work/{name}/{file}": data for file, data in answer.files.items()}
            if len(content) <= SHORT:
                arguments += [name, base64.b64encode(content).decode("ascii")]
            else:
                place = f"{SPOOL}/answer.{name}"
                files[place] = content
                arguments += [name, f"@{place}"]
        for piece in pieces(files):
            shell.put_files(self._sandbox, piece)
        return arguments
