"""Connects one sandbox to the bus through `exec` alone: no port, no network, any backend.

One thread asks the sandbox what its agent wants; one such call stays open until there is a request, brings it
here, and the next call takes the answers along. A request that must be waited for gets a thread of its own, so it
holds nobody up. Every request is served once: when a call fails, the next one repeats what was not answered, and
what is known already is not served again.
"""

from __future__ import annotations

import base64
import logging
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

_PATIENCE = 10.0
"""Seconds between calls of a sandbox that its agent has spoiled."""

_log = logging.getLogger(__name__)

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


class _SpoiledError(Exception):
    """A sandbox can be reached, and ``relay.sh`` does not work in it: its agent's doing, no failure of the trial."""


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
        """Make sure that it works, then serve in the background. To be called before the agent begins: what does not
        work later is what the agent has made of its sandbox.

        Raises:
            BackendError: the sandbox cannot be reached, or its image has not what is needed.
        """
        for attempt in range(_RETRIES + 1):
            try:
                self._call("leave", [])
                break
            except SandboxLost:
                raise
            except BackendError:
                if attempt == _RETRIES:
                    raise
                self._stopped.wait(0.1 * 2**attempt)
            except _SpoiledError as problem:
                raise BackendError(str(problem)) from problem
        threading.Thread(target=self._serve_all, name=f"relay-{self._mailbox.agent}", daemon=True).start()

    def stop(self) -> None:
        """Serve nothing new. The open call ends with the sandbox, or by itself after `patience`."""
        self._stopped.set()

    def _serve_all(self) -> None:
        failures = idle = spoiled = 0
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
            except _SpoiledError as problem:
                spoiled += 1
                again = True
                self._tell(spoiled, problem)
                self._stopped.wait(min(0.1 * 2 ** min(spoiled, 8), _PATIENCE))
                continue
            spoiled = 0
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
            except _SpoiledError:
                if attempt == _RETRIES:
                    self._ledger.end(name)
                    self._mailbox.put_back(answer.messages)
            self._stopped.wait(0.1 * 2**attempt)

    def _tell(self, times: int, problem: _SpoiledError) -> None:
        """Say once that an agent has cut itself off; it is asked again all the same, less and less often."""
        if times == _RETRIES:
            _log.warning("%s is cut off from the bus by what it did: %s", self._mailbox.agent, problem)

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
        """One call of ``relay.sh``: what it said, and whether that is all it had to say.

        Raises:
            BackendError: there was no call. _SpoiledError: there was, and the sandbox is not as it was made.
        """
        try:
            carried = self._carried(answers)
        except SandboxLost:
            raise
        except BackendError as problem:
            shell.run(
                self._sandbox, ["true"], timeout=_PROMPT
            )  # reachable: so it is the files that are in the way
            raise _SpoiledError(str(problem)) from problem
        command = ["sh", _RELAY, verb, *carried]
        done = shell.run(self._sandbox, command, timeout=_PROMPT if verb == "leave" else self._patience)
        if not done.timed_out and done.returncode != 0:
            raise _SpoiledError(f"relay.sh ended with {done.returncode}: {done.stderr_read()[:200].strip()}")
        if done.truncated:
            raise _SpoiledError("relay.sh printed more than is kept")
        return read_call(done.stdout), not done.timed_out

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
