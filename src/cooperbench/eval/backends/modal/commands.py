"""One command in a sandbox: begun, fed, listened to, and ended when its time is over.

Both streams are read while the command runs, as bytes, and their tails kept. The command ends when Modal says so, not
when its streams do: what it left running in the background may hold those for ever.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import secrets
import time
from collections.abc import Coroutine
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING, Any

from cooperbench.errors import UsageError
from cooperbench.eval.backends import shell
from cooperbench.eval.backends.base import Completed
from cooperbench.eval.backends.command import Command
from cooperbench.eval.backends.modal.connection import Gone, complaints
from cooperbench.eval.backends.tail import Tail

if TYPE_CHECKING:
    from cooperbench.eval.backends.modal.sandbox import ModalSandbox

_ARGV = 60_000
"""Bytes of arguments in one call; the library refuses more than 65 536 [client]."""
_PIECE = 1 << 20
"""Bytes of standard input in one call."""
_PULSE = 30.0
"""Seconds after which a silent command's sandbox is asked after: the library would wait for one that is gone."""
_SILENCE, _LONGEST_SILENCE = 2.0, 120.0
"""Seconds an ended command's streams may say nothing, or go on, before they are let go of: Modal may have a lot yet to
send, or a background process may hold them."""
_DEATH = 20.0
"""Seconds a killed command may take to end."""
_BACKSTOP = 60
"""Seconds after a command's time limit when Modal ends it, should this process be no more."""
_SIGNALLED = 128
"""Exit codes from here on may be the sandbox's end and not the command's."""


async def carry_out(sandbox: ModalSandbox, command: Command) -> Completed:
    """Run it, and wait for it."""
    _refuse_nonsense(command)
    argv = [*_beginning(sandbox, command), *command.argv]
    if sum(len(word.encode("utf-8", "surrogateescape")) for word in argv) > _ARGV or not _plain(argv):
        argv = [*_beginning(sandbox, command), "sh", await _as_file(sandbox, command.argv)]
    tag = f"COOPERBENCH_EXEC_{secrets.token_hex(8)}"
    limit = None if command.timeout is None else math.ceil(command.timeout) + _BACKSTOP
    async with sandbox.counting:
        sandbox.running += 1
    try:
        async with sandbox.mortal("starting a command"):
            process = await sandbox.handle.exec.aio(
                *argv, env={**command.env, tag: "1"}, timeout=limit, text=False
            )
        return await _Conversation(sandbox, process, command, tag).hold()
    finally:
        sandbox.running -= 1


def _refuse_nonsense(command: Command) -> None:
    if not command.argv:
        raise UsageError("no program to run")
    if any("\0" in text for text in (*command.argv, *command.env, *command.env.values(), command.cwd or "")):
        raise UsageError("arguments and environment cannot hold a NUL byte")


def _beginning(sandbox: ModalSandbox, command: Command) -> list[str]:
    workdir = sandbox.spec.workdir
    given = "none" if command.stdin is None else "given"
    return ["sh", "-c", script("modal/begin.sh"), "begin", workdir, command.cwd or workdir, given]


def _plain(argv: list[str]) -> bool:
    """Whether the wire can carry these words: it carries text."""
    return not any("\udc80" <= character <= "\udcff" for word in argv for character in word)


async def _as_file(sandbox: ModalSandbox, argv: tuple[str, ...]) -> str:
    """A script that is gone once it runs, and becomes the command."""
    path = f"/tmp/.cooperbench-{secrets.token_hex(8)}.sh"
    words = b" ".join(
        b"'" + word.encode("utf-8", "surrogateescape").replace(b"'", b"'\\''") + b"'" for word in argv
    )
    body = b'rm -f "$0"\nexec ' + words + b"\n"
    write = Command(("sh", "-c", 'umask 077; cat >"$1"', "sh", path), 300, {}, "/", body)
    done = await carry_out(sandbox, write)
    if done.returncode != 0:
        raise UsageError(
            f"a command too long for one call cannot be put into the sandbox: {done.stderr_read()}"
        )
    return path


@cache
def script(name: str) -> str:
    """A shell script of the backends'."""
    return resources.files("cooperbench.eval.backends").joinpath(name).read_text("utf-8")


class _Conversation:
    """Listens to one process until it is over."""

    def __init__(self, sandbox: ModalSandbox, process: Any, command: Command, tag: str) -> None:
        self._sandbox = sandbox
        self._process = process
        self._command = command
        self._tag = tag
        self._began = time.monotonic()
        self._heard = self._began
        self._out, self._err = (Tail(sandbox.settings.output) for _ in range(2))
        self._tasks: list[asyncio.Task[Any]] = []

    async def hold(self) -> Completed:
        """What the command came to."""
        streams = (self._process.stdout, self._out), (self._process.stderr, self._err)
        readers = [self._task(self._listen(*each)) for each in streams]
        ended = self._task(self._process.wait.aio())
        feeder = self._task(self._feed(self._command.stdin, ended))
        try:
            timed_out = await self._until(ended, feeder)
            if not timed_out:
                await self._look_at(ended)
            await self._hear_out(readers)
        finally:
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)
        code = shell.TIMED_OUT if timed_out else ended.result()
        truncated = self._out.truncated or self._err.truncated
        return Completed(code, self._out.content(), self._err.content(), timed_out, truncated)

    def _task(self, work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        self._tasks.append(asyncio.ensure_future(work))
        return self._tasks[-1]

    async def _listen(self, stream: Any, kept: Tail) -> None:
        async for chunk in stream:
            kept.add(chunk)
            self._heard = time.monotonic()

    async def _feed(self, content: bytes | None, ended: asyncio.Task[Any]) -> None:
        """Send standard input, if any; a command that does not want all of it is none of our business."""
        if content is None:
            return
        stdin = self._process.stdin
        with contextlib.suppress(Gone), complaints("sending standard input"):
            for start in range(0, len(content), _PIECE):
                if ended.done():
                    return
                stdin.write(content[start : start + _PIECE])
                await stdin.drain.aio()
            stdin.write_eof()
            await stdin.drain.aio()

    async def _until(self, ended: asyncio.Task[Any], feeder: asyncio.Task[Any]) -> bool:
        """Wait for the end of the command; whether it had to be ended.

        Raises:
            SandboxLost: the sandbox ended first. BackendError: its input could not be sent; it was ended.
        """
        limit = math.inf if self._command.timeout is None else self._began + self._command.timeout
        over = self._task(self._sandbox.over.wait())
        pulse = self._began + _PULSE
        while True:
            until = min(limit, self._sandbox.deadline, pulse)
            awaited = {ended, over} if feeder.done() else {ended, over, feeder}
            await asyncio.wait(
                awaited, timeout=max(0.0, until - time.monotonic()), return_when=asyncio.FIRST_COMPLETED
            )
            if feeder.done() and feeder.exception() is not None:
                await self._kill(ended)
                feeder.result()
            if ended.done():
                return False
            self._sandbox.raise_if_over()
            now = time.monotonic()
            if now >= self._sandbox.deadline:
                raise await self._sandbox.expire()
            if now >= limit:
                await self._kill(ended)
                return True
            if now >= pulse:
                await self._sandbox.raise_if_lost()
                pulse = now + _PULSE

    async def _look_at(self, ended: asyncio.Task[Any]) -> None:
        """Make sure that the end of the command was its own."""
        async with self._sandbox.mortal("waiting for a command"):
            code = await ended
        if code < 0 or code >= _SIGNALLED:
            await self._sandbox.raise_if_lost()

    async def _kill(self, ended: asyncio.Task[Any]) -> None:
        """End the command with everything it started; a sandbox in which that cannot be done is of no more use."""
        quiet = self._sandbox.sdk.stream_type.StreamType.DEVNULL
        program = script("hunt.sh") + script("modal/kill.sh")
        # While it is counted, and killed, no other command begins.
        async with self._sandbox.counting, self._sandbox.mortal("ending a command"):
            main = self._sandbox.main if self._sandbox.running == 1 else []
            killer = await self._sandbox.handle.exec.aio(
                "sh", "-c", program, "kill", self._tag, *main, stdout=quiet, stderr=quiet, timeout=_BACKSTOP
            )
            await killer.wait.aio()
        await asyncio.wait({ended}, timeout=_DEATH)
        if not ended.done():
            raise await self._sandbox.lose("a command out of time could not be ended")

    async def _hear_out(self, readers: list[asyncio.Task[Any]]) -> None:
        """Take what is still to come of the streams, but not for ever."""
        now = time.monotonic()
        longest, self._heard = now + _LONGEST_SILENCE, max(self._heard, now)
        waiting = set(readers)
        while waiting and now < min(longest, self._heard + _SILENCE):
            done, waiting = await asyncio.wait(waiting, timeout=min(longest, self._heard + _SILENCE) - now)
            for reader in done:
                async with self._sandbox.mortal("reading the output of a command"):
                    reader.result()
            now = time.monotonic()
