"""How a sandbox is made: what was asked for in Modal's words, in its turn, under a name so that it is made once."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import re
import secrets
import threading
import time
from collections.abc import Mapping
from typing import Any

from cooperbench.errors import BackendError, SandboxStartError
from cooperbench.eval.backends import owner
from cooperbench.eval.backends.base import Listener, SandboxSpec
from cooperbench.eval.backends.modal.config import LONGEST, Settings
from cooperbench.eval.backends.modal.connection import Connection, Gone, Throttled, Unsure, complaints
from cooperbench.eval.backends.modal.limiter import Limiter
from cooperbench.eval.backends.modal.sandbox import ModalSandbox, main

log = logging.getLogger(__name__)

_FIRST_PAUSE, _LONGEST_PAUSE = 1.0, 30.0
"""Seconds before a creation that was refused or got lost is tried again, and at most."""
_WORTH_TELLING = 5.0
_TELL_EVERY = 15.0
"""Seconds a wait must be to be told, and between two such lines of one process."""
_WAITED_FOR = "sandboxes on Modal"
_UNDOING = 30.0
"""Seconds the end of a sandbox that may not exist may take."""


class Maker:
    """Makes the sandboxes of one backend object, from any thread."""

    def __init__(self, connection: Connection, limiter: Limiter, tell: Listener) -> None:
        self._connection = connection
        self._limiter = limiter
        self._tell = tell
        self._places = threading.BoundedSemaphore(connection.settings.starting)
        self._lock = threading.Lock()
        self._told = -_TELL_EVERY
        self._waiting = False
        self._living: set[ModalSandbox] = set()

    def make(self, spec: SandboxSpec, image: Any) -> ModalSandbox:
        """A new sandbox of a hydrated image.

        Raises:
            SandboxStartError: Modal would not, or has not for longer than `start_patience`.
        """
        with self._places:  # Modal stalls when too many are starting at the same time
            self._limiter.take(self._turn)
            wishes = asked(spec, self._connection.settings)  # now: its tags say when it will have expired
            try:
                handle = self._connection.call(self._create(main(spec), wishes, image))
            except BaseException as problem:  # Ctrl-C too: it may be there all the same
                self._undo(wishes["name"])
                if isinstance(problem, BackendError) and not isinstance(problem, SandboxStartError):
                    raise SandboxStartError(str(problem)) from problem
                raise
        self._no_more_waiting()
        sandbox = ModalSandbox(self._connection, spec, handle, self._buried)
        with self._lock:
            self._living.add(sandbox)
        return sandbox

    def living(self) -> list[ModalSandbox]:
        """Those of which Modal has not been told that they are over."""
        with self._lock:
            return list(self._living)

    def _buried(self, sandbox: ModalSandbox) -> None:
        with self._lock:
            self._living.discard(sandbox)

    def _turn(self, seconds: float) -> None:
        """Say that there is a wait, if it is worth it."""
        if seconds >= _WORTH_TELLING:
            rate = self._connection.settings.creates_per_second
            self._wait(f"{seconds:.0f} s to this one's turn (creates_per_second = {rate:g})")

    def _wait(self, how_far: str) -> None:
        """Tell it, unless something of the kind has just been told."""
        with self._lock:
            if time.monotonic() < self._told + _TELL_EVERY:
                return
            self._told = time.monotonic()
            self._waiting = True
        self._tell(_WAITED_FOR, how_far)

    def _no_more_waiting(self) -> None:
        with self._lock:
            waiting, self._waiting = self._waiting, False
        if waiting:
            self._tell(_WAITED_FOR, None)

    def _undo(self, name: str) -> None:
        """End what we have not heard of: a creation that failed for us may have happened."""
        try:
            self._connection.call(self._end(name), _UNDOING)
        except (BackendError, TimeoutError) as problem:
            log.warning("sandbox %s, if it was made, is left to its lifetime: %s", name, problem)

    async def _end(self, name: str) -> None:
        with contextlib.suppress(Gone), complaints(f"ending sandbox {name}"):
            handle = await self._named(name)
            await handle.terminate.aio()

    async def _create(self, command: list[str], wishes: Mapping[str, Any], image: Any) -> Any:
        """The library's object for the new sandbox, asked for until it is there."""
        until = time.monotonic() + self._connection.settings.start_patience
        pause = _FIRST_PAUSE
        while True:
            try:
                return await self._within(self._attempt(command, wishes, image), until)
            except (Throttled, Unsure) as problem:
                if time.monotonic() + pause > until:
                    raise
                self._wait(f"{problem}; trying again in {pause:.0f} s")
            await asyncio.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE)

    async def _within(self, attempt: Any, until: float) -> Any:
        """An attempt, which is told of while it takes its time: the library waits out what Modal asks it to."""
        task = asyncio.ensure_future(attempt)
        begun = time.monotonic()
        try:
            while not task.done():
                left = until - time.monotonic()
                if left <= 0:
                    raise SandboxStartError(
                        f"Modal has not made a sandbox in {self._connection.settings.start_patience:g} s "
                        "(start_patience in [backends.modal])"
                    )
                await asyncio.wait({task}, timeout=min(left, _TELL_EVERY))
                if not task.done():
                    self._wait(f"{time.monotonic() - begun:.0f} s without an answer to this one's creation")
            return task.result()
        finally:
            task.cancel()

    async def _attempt(self, command: list[str], wishes: Mapping[str, Any], image: Any) -> Any:
        """Create it; one of its name is the one whose making we did not hear of."""
        connection = self._connection
        sdk, client, app = connection.sdk, connection.client, connection.app
        with complaints("creating a sandbox on Modal"):
            try:
                return await sdk.Sandbox.create.aio(*command, app=app, client=client, image=image, **wishes)
            except sdk.exception.AlreadyExistsError:
                return await self._named(wishes["name"])

    async def _named(self, name: str) -> Any:
        connection = self._connection
        return await connection.sdk.Sandbox.from_name.aio(
            connection.settings.app_name,
            name,
            environment_name=connection.settings.environment or None,
            client=connection.client,
        )


def asked(spec: SandboxSpec, settings: Settings) -> dict[str, Any]:
    """A spec in the words of the library's `Sandbox.create`.

    Raises:
        SandboxStartError: a wish Modal cannot grant.
    """
    if not 0 < spec.timeout <= LONGEST:
        raise SandboxStartError(
            f"a sandbox of Modal's lives at most {LONGEST // 3600} hours, not {spec.timeout:g} s: ask for less"
        )
    if spec.user not in ("", "root", "0"):
        raise SandboxStartError(f"commands on Modal run as root, not as {spec.user!r}")
    tags = {**spec.labels, **owner.labels(spec.timeout + settings.start_patience)}
    return {
        "name": f"cooperbench-{secrets.token_hex(12)}",
        "timeout": math.ceil(spec.timeout),
        "idle_timeout": settings.idle or None,
        "cpu": settings.cpu,
        "memory": settings.memory,
        "region": list(settings.region) or None,
        "runtime": settings.runtime or None,
        "env": dict(settings.env),
        "tags": {_word(name): _word(value) for name, value in tags.items()},
        **_network(spec, settings),
    }


def _network(spec: SandboxSpec, settings: Settings) -> dict[str, Any]:
    match spec.network or settings.network:
        case "none":
            return {"block_network": True}
        case "host":
            raise SandboxStartError(
                "network `host` is this machine's own, which Modal does not have: `open` or `none`"
            )
    return {
        "outbound_cidr_allowlist": list(settings.cidr_allowlist) or None,
        "outbound_domain_allowlist": list(settings.domain_allowlist) or None,
    }


def _word(text: str) -> str:
    """As Modal takes names and values of tags: letters, digits, ``.``, ``_``, ``-``, at most 63 [client]."""
    return re.sub(r"[^A-Za-z0-9._-]", "-", text)[:63] or "-"
