"""Sandboxes and the processes in them: isolated by the package's `local` backend, streamed as Modal streams.

A process here is a command of a `LocalSandbox` whose pipes this server holds itself, so output arrives as it is
printed, input as it is sent, and a stream stays open for as long as anything inside holds it.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from modal_proto import api_pb2 as pb

from cooperbench.errors import SandboxLost
from cooperbench.eval.backends.local import LocalSandbox
from cooperbench.eval.backends.local.command import Pipes
from cooperbench.eval.backends.local.inside import agent
from tests.loopback.modal.rpc import background

_CHUNK = 256 * 1024
Result = pb.GenericResult


class Process:
    """One command: what it has printed, whether it has ended, what it has been sent."""

    def __init__(self, pipes: Pipes) -> None:
        self._loop = asyncio.get_running_loop()
        self._pipes = pipes
        self.output = {1: bytearray(), 2: bytearray()}
        self.closed = {1: False, 2: False}
        self.code: int | None = None
        self.lost = False
        """The sandbox went away under it."""
        self.received = 0
        """Bytes of standard input taken."""
        self.changed = asyncio.Condition()
        self._feeding = asyncio.Lock()
        for descriptor in (pipes.out, pipes.err, pipes.status):
            os.set_blocking(descriptor, False)
        self._loop.add_reader(pipes.out, self._read, 1, pipes.out)
        self._loop.add_reader(pipes.err, self._read, 2, pipes.err)
        self._loop.add_reader(pipes.status, self._status)

    @property
    def over(self) -> bool:
        """It has ended, one way or the other."""
        return self.code is not None or self.lost

    @property
    def stdin_closed(self) -> bool:
        """Nothing more can be sent."""
        return self._pipes.stdin < 0

    async def read(self, stream: int, at: int, size: int) -> bytes:
        """What was printed from `at` on, once there is something; nothing: nobody can print any more."""
        content = self.output[stream]
        await self.until(lambda: len(content) > at or self.closed[stream])
        return bytes(content[at : at + size])

    async def feed(self, offset: int, data: bytes, end: bool) -> None:
        """Send it input from `offset` on; what was received before is passed over, so a repeated call does no harm.

        Raises:
            BrokenPipeError: nobody reads.
        """
        async with self._feeding:
            fresh = memoryview(data)[max(0, self.received - offset) :]
            while fresh:
                if self.stdin_closed:
                    raise BrokenPipeError
                try:
                    written = os.write(self._pipes.stdin, fresh[:65536])
                except BlockingIOError:
                    await self._writable()
                    continue
                self.received += written
                fresh = fresh[written:]
            if end and not self.stdin_closed:
                os.close(self._pipes.stdin)
                self._pipes.stdin = -1

    async def _writable(self) -> None:
        ready = asyncio.Event()
        descriptor = self._pipes.stdin
        self._loop.add_writer(descriptor, ready.set)
        try:
            while not ready.is_set() and not self.over:
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(ready.wait(), 0.5)
        finally:
            self._loop.remove_writer(descriptor)
        if self.over:
            raise BrokenPipeError

    def _read(self, stream: int, descriptor: int) -> None:
        with contextlib.suppress(BlockingIOError):
            chunk = os.read(descriptor, _CHUNK)
            if chunk:
                self.output[stream] += chunk
            else:
                self._loop.remove_reader(descriptor)
                self.closed[stream] = True
            self._tell()

    def _status(self) -> None:
        """The exit code, or the end of the sandbox: then there never will be one."""
        record = os.read(self._pipes.status, agent.STATUS.size)
        self._loop.remove_reader(self._pipes.status)
        if len(record) == agent.STATUS.size:
            self.code = agent.STATUS.unpack(record)[0]
        else:
            self.lost = True
        self._tell()

    def end(self, code: int) -> None:
        """It counts as ended with this code, unless it has ended."""
        if not self.over:
            self.code = code
            self.closed = {1: True, 2: True}
            self._tell()

    def _tell(self) -> None:
        async def tell() -> None:
            async with self.changed:
                self.changed.notify_all()

        background(tell())

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait until it is so."""
        async with self.changed:
            await self.changed.wait_for(condition)

    def abandon(self) -> None:
        """The sandbox is over: let go of the pipes, and of whoever waits."""
        self.lost = self.lost or self.code is None
        self.closed = {1: True, 2: True}
        for descriptor in (self._pipes.out, self._pipes.err, self._pipes.status):
            self._loop.remove_reader(descriptor)
        self._pipes.close()
        self._pipes.stdin = -1
        self._tell()


@dataclass
class Box:
    """One sandbox, as the control plane knows it."""

    app_id: str
    definition: Any
    tags: dict[str, str]
    sandbox: LocalSandbox
    base: Any
    """The image it was made of, for a snapshot."""
    secrets: Mapping[str, str]
    # Not 22 characters of base 62 after `sb-`, which would be a sandbox of the earlier kind [client].
    id: str = field(default_factory=lambda: "sb-" + uuid.uuid4().hex[:26])
    task: str = field(default_factory=lambda: "ta-" + uuid.uuid4().hex[:21] + "V")
    created: float = field(default_factory=time.time)
    ended: float = 0.0
    active: float = field(default_factory=time.monotonic)
    """When something last happened in it."""
    result: Any = None
    processes: dict[str, Process] = field(default_factory=dict)
    over: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def name(self) -> str:
        """Unique among the live ones of an app; empty: none."""
        return str(self.definition.name)

    @property
    def idle(self) -> float:
        """Seconds since anything ran in it."""
        if any(not process.over for process in self.processes.values()):
            self.active = time.monotonic()
        return time.monotonic() - self.active

    async def start(self, argv: Sequence[str], *, cwd: str, env: Mapping[str, str], seconds: int) -> Process:
        """Begin a command; after `seconds`, if any, it is killed."""
        pipes = await asyncio.to_thread(
            self.sandbox.start,
            list(argv),
            cwd=cwd or self.definition.workdir or self.base.workdir,
            env={**self.base.env, **self.secrets, **env},
            timeout=seconds or None,
            stdin=True,
        )
        self.active = time.monotonic()
        return Process(pipes)

    async def finish(self, status: int, code: int = 0, tell: bool = False) -> None:
        """It is over: the first reason counts. `tell`: of commands that they were killed, before anything else."""
        if self.result is None:
            self.result = Result(status=status, exitcode=code)
            self.ended = time.time()
            if tell:
                for process in self.processes.values():
                    process.end(137)
                await asyncio.sleep(0.2)  # for the answers to leave
            await asyncio.to_thread(self.sandbox.terminate)
            for process in self.processes.values():
                process.abandon()
            self.over.set()

    @property
    def cost(self) -> float:
        """What it has cost at a made-up price: a dollar a second."""
        return (self.ended or time.time()) - self.created


def lost(problem: SandboxLost) -> str:
    """What the router says of a command in a sandbox that is no more."""
    return f"Sandbox already shut down: {problem}"
