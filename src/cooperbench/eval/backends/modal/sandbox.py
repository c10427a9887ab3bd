"""One sandbox: its commands, its files, and its end."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from typing import Any

from cooperbench.errors import BackendError, SandboxLost, SandboxTimeout
from cooperbench.eval.backends import shell
from cooperbench.eval.backends.archive import decompress
from cooperbench.eval.backends.base import Completed, SandboxSpec
from cooperbench.eval.backends.command import Command
from cooperbench.eval.backends.doubt import short
from cooperbench.eval.backends.modal import commands
from cooperbench.eval.backends.modal.config import Settings
from cooperbench.eval.backends.modal.connection import Connection, Gone, complaints

log = logging.getLogger(__name__)

_TIMED_OUT = 124
"""What the library makes of the end of a sandbox whose lifetime is over [client]; nothing of ours exits so."""
_ATTEMPTS, _PAUSE = 5, 0.5
"""Times an end is asked for, each time with the library's own four; seconds before the second, then twice that."""
_UNPACK = 'mkdir -p -- "$1" && cd -- "$1" && exec tar -xpof -'


def main(spec: SandboxSpec) -> list[str]:
    """What keeps a sandbox alive, for longer than it lives."""
    return ["sleep", str(math.ceil(spec.timeout) + 3600)]


class ModalSandbox:
    """A container of Modal's; see `base.Sandbox`, `CommandSandbox`, `ArchiveSandbox` and `MeteredSandbox`."""

    def __init__(
        self, connection: Connection, spec: SandboxSpec, handle: Any, buried: Callable[[ModalSandbox], None]
    ) -> None:
        """`handle`: the library's object for it. `buried`: called once Modal has been told of its end."""
        self.spec = spec
        self.handle = handle
        self.deadline = time.monotonic() + spec.timeout
        self.over = asyncio.Event()
        """Set, on the connection's loop, when it is known to be over."""
        self._connection = connection
        self.counting = asyncio.Lock()
        self.running = 0
        """Commands under way or about to begin; on the connection's loop, and raised only with `counting` held."""
        self.orphaned = False
        """Its end has been asked for in vain."""
        self._buried = buried
        self._end: SandboxLost | None = None
        self._ended = False

    @property
    def id(self) -> str:
        """As Modal names it."""
        return str(self.handle.object_id)

    @property
    def main(self) -> list[str]:
        """The command that it lives by."""
        return main(self.spec)

    @property
    def settings(self) -> Settings:
        return self._connection.settings

    @property
    def sdk(self) -> Any:
        """The client library."""
        return self._connection.sdk

    # ---------------------------------------------------------------------------------------- the seam

    def exec(self, *args: str) -> Completed:
        """See `base.Sandbox`."""
        return self.run(args)

    def run(
        self,
        argv: Sequence[str],
        *,
        timeout: float | None = None,
        env: Mapping[str, str] | None = None,
        cwd: str | None = None,
        stdin: bytes | None = None,
    ) -> Completed:
        """See `base.CommandSandbox`."""
        self.raise_if_over()
        command = Command(tuple(argv), timeout, env or {}, cwd, stdin)
        return self._connection.call(commands.carry_out(self, command))

    def put_archive(self, directory: str, archive: bytes) -> None:
        """See `base.ArchiveSandbox`: one command, its standard input the archive."""
        done = self.run(["sh", "-c", _UNPACK, "sh", directory], stdin=archive)
        if done.returncode != 0:
            raise BackendError(f"putting files under {directory} failed: {short(done.stderr_read())}")

    def get_archive(self, directory: str, limit: int) -> bytes:
        """See `base.ArchiveSandbox`: one command for each few MiB, compressed."""
        # As base64, and with a line before it, a piece must fit into what is kept of an output.
        piece = max(1, self.settings.output // 2)
        return decompress(shell.download(self, directory, limit, piece), limit)

    def terminate(self) -> None:
        """See `base.Sandbox`.

        Raises:
            BackendError: Modal would not, however often it was asked. `ModalBackend.sweep` and `close` ask again; the
                sandbox's lifetime and `idle` end it in any case.
        """
        self._finish(SandboxLost("the sandbox was terminated"))
        if not self._ended:
            self._connection.call(self._terminate())

    def cost(self) -> float | None:
        """See `base.MeteredSandbox`; by Modal's own reckoning, which may be minutes behind."""
        with contextlib.suppress(Gone), complaints("asking what a sandbox has cost"):
            stats = self._connection.call(self.handle._experimental_stats.aio())
            dollars = None if stats.cost is None else float(stats.cost)
            return dollars if dollars is not None and math.isfinite(dollars) else None
        return None

    # ---------------------------------------------------------------------------------------- the end

    async def _terminate(self) -> None:
        pause = _PAUSE
        for attempt in range(_ATTEMPTS):
            try:
                with contextlib.suppress(Gone), complaints(f"terminating sandbox {self.id}"):
                    await self.handle.terminate.aio()
                break
            except BackendError:
                if attempt == _ATTEMPTS - 1:
                    self.orphaned = True
                    raise
                await asyncio.sleep(pause)
                pause *= 2
        self._ended, self.orphaned = True, False
        self._buried(self)
        with contextlib.suppress(BackendError), complaints("letting go of a sandbox"):
            await self.handle.detach.aio()

    @contextlib.asynccontextmanager
    async def mortal(self, what: str) -> AsyncIterator[None]:
        """What Modal says while doing `what`, as ours: that it knows nothing of this sandbox is the sandbox's end."""
        try:
            with complaints(what):
                yield
        except Gone as problem:
            await self.raise_if_lost()
            raise self._finish_here(SandboxLost(f"the sandbox was lost: {problem}")) from problem

    def raise_if_over(self) -> None:
        """Raise `SandboxLost` if it is known to be over."""
        if self._end is not None:
            raise self._epitaph()

    async def raise_if_lost(self) -> None:
        """Ask Modal, and raise `SandboxLost` if it is over; while Modal does not answer nothing is known."""
        self.raise_if_over()
        try:
            with complaints("asking after a sandbox"):
                code = await self.handle.poll.aio()
        except Gone as problem:
            raise self._finish_here(SandboxLost(f"the sandbox was lost: {problem}")) from problem
        except BackendError as problem:
            log.debug("%s", problem)
            return
        if code == _TIMED_OUT:
            raise self._finish_here(self._lifetime())
        if code is not None:
            raise self._finish_here(SandboxLost(f"the sandbox was lost: it ended, says Modal, with {code}"))

    async def expire(self) -> SandboxLost:
        """Its lifetime is over: end it, wherever Modal's clock is; returns what to raise."""
        return await self._lose(self._lifetime())

    async def lose(self, why: str) -> SandboxLost:
        """End it for a reason of ours; returns what to raise."""
        return await self._lose(SandboxLost(f"the sandbox was lost: {why}"))

    async def _lose(self, end: SandboxLost) -> SandboxLost:
        self._finish_here(end)
        with contextlib.suppress(BackendError):
            await self._terminate()
        return self._epitaph()

    def _lifetime(self) -> SandboxTimeout:
        return SandboxTimeout(f"the sandbox reached its lifetime of {self.spec.timeout:g} s")

    def _finish(self, end: SandboxLost) -> None:
        """The first reason to end is the one that counts. From any thread."""
        if self._end is None:
            self._end = end
        self._connection.signal(self.over)

    def _finish_here(self, end: SandboxLost) -> SandboxLost:
        self._finish(end)
        return self._epitaph()

    def _epitaph(self) -> SandboxLost:
        """A fresh exception: several threads may raise it."""
        assert self._end is not None
        return type(self._end)(str(self._end))
