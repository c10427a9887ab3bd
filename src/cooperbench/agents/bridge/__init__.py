"""How a program inside a sandbox reaches its model: over `exec` alone, on any backend, with any network or none.

``inside.py`` runs the program in the sandbox and turns its HTTP calls into files; here they are fetched by a call that
waits for them, answered by the agent's line, and the answers put back. The program has the line's token, never a key.
"""

from __future__ import annotations

import base64
import binascii
import json
import logging
import threading
from collections.abc import Mapping, Sequence
from functools import cache
from importlib import resources

from cooperbench.errors import AgentError, BackendError, SandboxLost
from cooperbench.eval.backends import shell
from cooperbench.eval.backends.base import Completed, Sandbox
from cooperbench.gateway import Line, Reply

GATEWAY = "@GATEWAY@"
"""In arguments and environment values: the gateway's base URL, as the program is to use it."""

SPOOL = "/var/spool/cooperbench-model"
_PATIENCE = 25
"""Seconds one call waits for requests before it is made anew."""
_PROMPT = 120
_RETRIES = 5
_AT_ONCE = 32
"""Requests of one sandbox that are being answered."""

_log = logging.getLogger(__name__)


@cache
def _files() -> dict[str, bytes]:
    folder = resources.files(__package__)
    return {f"{SPOOL}/{name}": (folder / name).read_bytes() for name in ("inside.py", "carry.sh")}


def run_bridged(
    sandbox: Sandbox,
    line: Line,
    command: Sequence[str],
    *,
    env: Mapping[str, str],
    cwd: str,
    timeout: float,
) -> Completed:
    """Run a program to its end, its model answered by `line`; each line it printed has the time before it.

    Raises:
        AgentError: the sandbox has no Python 3. BackendError: the sandbox is lost.
    """
    if shell.run(sandbox, ["python3", "--version"], timeout=_PROMPT).returncode != 0:
        raise AgentError("this image has no python3, which programs in a sandbox need to reach their model")
    shell.put_files(sandbox, _files())
    bridge = _Bridge(sandbox, line)
    bridge.start()
    try:
        whole = ["python3", f"{SPOOL}/inside.py", SPOOL, *command]
        return shell.run(sandbox, whole, env=env, cwd=cwd, timeout=timeout)
    finally:
        bridge.stop()


class _Bridge:
    """Serves one program's calls from `start` to `stop` or to its sandbox's end."""

    def __init__(self, sandbox: Sandbox, line: Line) -> None:
        self._sandbox = sandbox
        self._line = line
        self._stopped = threading.Event()
        self._known: set[str] = set()
        self._places = threading.BoundedSemaphore(_AT_ONCE)

    def start(self) -> None:
        """Begin, in the background."""
        threading.Thread(target=self._serve, name=f"bridge-{self._line.agent_id}", daemon=True).start()

    def stop(self) -> None:
        """Serve nothing new; the open call ends with the sandbox, or by itself."""
        self._stopped.set()

    def _serve(self) -> None:
        failures = 0
        while not self._stopped.is_set():
            try:
                if failures:
                    self._carry("again", timeout=_PROMPT)
                for name, request in read_requests(self._carry("wait", timeout=_PATIENCE).stdout):
                    if name not in self._known:  # a call ended for want of requests may print one twice
                        self._known.add(name)
                        self._begin(name, request)
                failures = 0
            except SandboxLost:
                return
            except BackendError as problem:
                failures += 1
                if failures > _RETRIES:
                    _log.warning("%s has lost its model: %s", self._line.agent_id, problem)
                    return
                self._stopped.wait(0.1 * 2**failures)

    def _begin(self, name: str, request: bytes) -> None:
        """Answer it in a thread of its own, once there is a place: a sandbox may ask as much as it likes."""
        while not self._places.acquire(timeout=1):
            if self._stopped.is_set():
                return
        threading.Thread(target=self._serve_one, args=(name, request), daemon=True).start()

    def _serve_one(self, name: str, request: bytes) -> None:
        try:
            self._answer(name, request)
        finally:
            self._places.release()

    def _answer(self, name: str, request: bytes) -> None:
        content = packed(answered(self._line, request))
        for attempt in range(_RETRIES):
            try:
                shell.put_files(self._sandbox, {f"{SPOOL}/answered/{name}.part": content})
                self._carry("leave", name, timeout=_PROMPT)
                return
            except SandboxLost:
                return
            except BackendError as problem:
                _log.warning("answering %s, attempt %d: %s", self._line.agent_id, attempt + 1, problem)
                self._stopped.wait(0.1 * 2**attempt)

    def _carry(self, *what: str, timeout: float) -> Completed:
        done = shell.run(self._sandbox, ["sh", f"{SPOOL}/carry.sh", SPOOL, *what], timeout=timeout)
        if not done.timed_out and done.returncode != 0:
            raise BackendError(f"carry.sh ended with {done.returncode}: {done.stderr_read()[:200].strip()}")
        return done


def read_requests(output: bytes) -> list[tuple[str, bytes]]:
    """What ``carry.sh`` printed, taken apart; lines that make no sense are nothing, and so is half a line."""
    found = []
    for line in output.split(b"\n")[:-1]:
        name, _, encoded = line.partition(b" ")
        if name.isdigit() and len(name) < 10:
            try:
                found.append((name.decode("ascii"), base64.b64decode(encoded, validate=True)))
            except binascii.Error:
                continue
    return found


def answered(line: Line, request: bytes) -> Reply:
    """The line's reply to a request as ``inside.py`` writes it: a line of JSON, then the body."""
    head, _, body = request.partition(b"\n")
    try:
        told = json.loads(head)
        path, headers = str(told["path"]), dict(told["headers"])
    except (ValueError, KeyError, TypeError, RecursionError):
        path, headers = "", {}
    return line.answer(path, body, {str(name): str(value) for name, value in headers.items()})


def packed(reply: Reply) -> bytes:
    """A reply as ``inside.py`` reads it."""
    return f"{reply.status} {' '.join(reply.kind.split())}\n".encode() + reply.body
