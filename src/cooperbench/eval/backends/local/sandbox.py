"""The harness's end of one sandbox."""

from __future__ import annotations

import contextlib
import logging
import os
import select
import signal
import socket
import threading
import time
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from cooperbench.errors import BackendError, SandboxLost, SandboxTimeout
from cooperbench.eval.backends.base import Completed
from cooperbench.eval.backends.local import command, launcher
from cooperbench.eval.backends.local.inside import wire

log = logging.getLogger(__name__)

_DEATH_SECONDS = 10.0
_ANSWER_SLACK = 30.0
"""How long PID 1 may be late with a command's time-out before the sandbox counts as lost."""
_TAR_OVERHEAD = 64 << 20


@dataclass(frozen=True, slots=True)
class Life:
    """What a running sandbox is made of, handed over by its maker."""

    number: int
    name: str
    control: socket.socket
    handle: int
    """pidfd of its PID 1."""
    deadline: float
    env: Mapping[str, str]
    workdir: str
    output: int
    buried: Callable[[], None]
    """Called once when it is dead: its writable layer can go."""


class LocalSandbox:
    """One sandbox; every method may be called from any thread."""

    def __init__(self, life: Life) -> None:
        self._life = life
        self._lock = threading.Lock()
        self._users = 0
        self._over = False
        self._dead = threading.Event()
        self._release = weakref.finalize(self, _release, life.control, life.handle)

    def __repr__(self) -> str:
        return f"<LocalSandbox {self._life.name}{' (terminated)' if self._over else ''}>"

    @property
    def number(self) -> int:
        """Counted by its maker."""
        return self._life.number

    def exec(self, *args: str) -> Completed:
        """Run one program with these arguments; see `base.Sandbox`."""
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
        """Run one program; see `base.CommandSandbox`."""
        with self._alive():
            until = self._until(timeout)
            pipes = self.start(argv, timeout=timeout, env=env, cwd=cwd, stdin=stdin is not None)
            try:
                conversation = command.Conversation(pipes, self._life.handle, stdin or b"", self._life.output)
                done = conversation.listen(until)
            finally:
                pipes.close()
            if done is None:
                self._lost()
        assert done is not None
        return done

    def start(
        self,
        argv: Sequence[str],
        *,
        timeout: float | None = None,
        env: Mapping[str, str] | None = None,
        cwd: str | None = None,
        stdin: bool = False,
    ) -> command.Pipes:
        """Begin one program and hand over its pipes, for whoever wants its output as it comes.

        The status pipe gives one `agent.STATUS` record when it has ended; its end without one is the sandbox's. The
        caller closes the pipes.
        """
        order = _order(argv, {**self._life.env, **(env or {})}, cwd or self._life.workdir, timeout)
        with self._alive():
            pipes, theirs = command.open_pipes(stdin)
            try:
                with wire.closing(theirs):
                    self._send(order, theirs)
            except BaseException:
                pipes.close()
                raise
        return pipes

    def put_archive(self, directory: str, archive: bytes) -> None:
        """Unpack an uncompressed tar; see `base.ArchiveSandbox`."""
        body = _memory_file(archive)
        with wire.closing([body]):
            self._ask({"op": "unpack", "directory": self._inside(directory)}, body)

    def get_archive(self, directory: str, limit: int) -> bytes:
        """The files of one directory as a tar; see `base.ArchiveSandbox`."""
        body = _memory_file(b"")
        with wire.closing([body]):
            self._ask({"op": "pack", "directory": self._inside(directory), "limit": limit}, body)
            size = os.fstat(body).st_size
            if size > limit + _TAR_OVERHEAD:
                raise BackendError(
                    f"sandbox {self._life.name}: archive of {directory} is longer than announced"
                )
            with os.fdopen(os.dup(body), "rb") as file:
                file.seek(0)
                return file.read(size)

    def export(self, directory: str) -> None:
        """Copy what was written in memory to a directory below the state directory; for a build only."""
        self._ask({"op": "export", "directory": directory})

    def terminate(self) -> None:
        """Kill everything inside, at once; returns when it is dead. From any thread, any number of times."""
        with self._lock:
            first, self._over = not self._over, True
            if first:
                self._kill()
        if first:
            self._life.buried()
            with self._lock:
                self._dead.set()
                self._release_if_unused()
        else:
            self._dead.wait(_DEATH_SECONDS)

    # ------------------------------------------------------------------------------------------ inner workings

    def _inside(self, directory: str) -> str:
        return os.path.join(self._life.workdir, directory)

    def _until(self, timeout: float | None) -> float:
        """When to stop waiting for PID 1's word: it keeps the time itself, and should be first."""
        own = self._life.deadline + 1.0
        return own if timeout is None else min(own, time.monotonic() + timeout + _ANSWER_SLACK)

    def _send(self, order: dict[str, Any], descriptors: Sequence[int]) -> None:
        try:
            wire.send(self._life.control, order, descriptors)
        except OSError:
            self._lost()

    def _ask(self, order: dict[str, Any], *body: int) -> None:
        with self._alive():
            answer, theirs = os.pipe()
            with wire.closing([theirs]):
                self._send(order, (theirs, *body))
            message = launcher.read_answer(answer, gone=self._life.handle, until=self._life.deadline + 1.0)
            if "done" in message:
                return
            if not message and self._is_gone():
                self._lost()
        reason = message.get("error", "the process at work on it was killed")
        raise BackendError(
            f"sandbox {self._life.name}: {order['op']} {order['directory']}: {str(reason)[:1000]}"
        )

    @contextlib.contextmanager
    def _alive(self) -> Iterator[None]:
        """The sandbox's descriptors stay open meanwhile."""
        with self._lock:
            if self._over:
                raise self._epitaph()
            self._users += 1
        try:
            if time.monotonic() >= self._life.deadline:
                self._lost()
            yield
        finally:
            with self._lock:
                self._users -= 1
                self._release_if_unused()

    def _lost(self) -> None:
        """It is gone, or must be."""
        self.terminate()
        raise self._epitaph()

    def _epitaph(self) -> SandboxLost:
        if time.monotonic() >= self._life.deadline:
            return SandboxTimeout(f"sandbox {self._life.name} reached the end of its lifetime")
        return SandboxLost(f"sandbox {self._life.name} is gone")

    def _is_gone(self) -> bool:
        poll = select.poll()
        poll.register(self._life.handle, select.POLLIN)
        return bool(poll.poll(0))

    def _kill(self) -> None:
        with contextlib.suppress(OSError):  # ESRCH: dead already
            signal.pidfd_send_signal(self._life.handle, signal.SIGKILL)
        poll = select.poll()
        poll.register(self._life.handle, select.POLLIN)
        if not poll.poll(_DEATH_SECONDS * 1000):
            log.warning("sandbox %s does not die; some process of it is stuck in the kernel", self._life.name)

    def _release_if_unused(self) -> None:
        if self._dead.is_set() and self._users == 0:
            self._release()


def _release(control: socket.socket, handle: int) -> None:
    control.close()
    os.close(handle)


def _order(argv: Sequence[str], env: Mapping[str, str], cwd: str, timeout: float | None) -> dict[str, Any]:
    if not argv:
        raise ValueError("no program to run")
    if any("\0" in text for text in (*argv, *env, *env.values(), cwd)):
        raise ValueError("arguments and environment cannot hold a NUL byte")
    return {"op": "run", "argv": list(argv), "env": dict(env), "cwd": cwd, "timeout": timeout}


def _memory_file(content: bytes) -> int:
    descriptor = os.memfd_create("archive")
    try:
        with os.fdopen(os.dup(descriptor), "wb") as file:
            file.write(content)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor
