"""PID 1 of a sandbox: takes orders from the harness, starts commands, ends them, and dies when nobody listens.

A command gets the harness's own pipe ends, so output is never relayed, and reports its end on a pipe of its own, so
nothing has to be told apart. When PID 1 ends, for whatever reason, the kernel ends everything else in the sandbox.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import select
import signal
import socket
import struct
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from . import archives, processes, quick, users, wire

STATUS = struct.Struct("<iB")
"""How a command ended: exit code, and any of the flags below."""
TIMED_OUT, OUT_OF_MEMORY, OUT_OF_DISK, NOT_STARTED = 1, 2, 4, 8

_TIME_OUT_CODE = 124
_DISK_PAUSE = 1.0
_FASTEST_HOG = 8e9
"""Bytes a second a program may claim at most: how long the memory watch may look away."""


@dataclass(slots=True)
class _Command:
    tag: int
    status: int
    """Descriptor its end is told on; -1 once told."""
    deadline: float


class Agent:
    """One sandbox's PID 1, from the last step of its making to its end."""

    def __init__(
        self,
        control: socket.socket,
        harness: int,
        spec: dict[str, Any],
        secret: int,
        outside: list[int],
        user: users.User,
    ) -> None:
        self._control = control
        self._harness = harness
        self._outside = outside
        """What `rootfs.enter` kept open, for a build in memory."""
        self._user = user
        """Who commands run as."""
        self._tags = processes.Tags(secret)
        self._commands: dict[int, _Command] = {}
        self._flags = 0
        """What the watch did to the running commands."""
        self._end: float = time.monotonic() + spec["lifetime"]
        self._memory: int = spec["limits"]["memory"]
        self._reserve: int = spec["limits"]["disk_reserve"]
        self._next_watch = float("inf")
        self._next_disk = 0.0
        self._null = os.open("/dev/null", os.O_RDONLY | os.O_CLOEXEC)
        self._orders: dict[str, Callable[[dict[str, Any], list[int]], None]] = {
            "run": self._run,
            "unpack": self._unpack,
            "pack": self._pack,
            "export": self._export,
        }

    def serve(self) -> None:
        """Work until the harness lets go, dies, or the lifetime is over."""
        awake, alarm = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(alarm, warn_on_full_buffer=False)
        poll = select.poll()
        for descriptor in (self._control.fileno(), self._harness, awake):
            poll.register(descriptor, select.POLLIN)
        while True:
            ready = {descriptor for descriptor, _ in poll.poll(self._pause())}
            if self._harness in ready or time.monotonic() >= self._end:
                return
            if awake in ready:
                with contextlib.suppress(BlockingIOError):
                    os.read(awake, 4096)
                self._reap()
            self._watch()
            self._time_out()
            if self._control.fileno() in ready and not self._obey():
                return

    def _pause(self) -> float:
        soonest = min(
            [self._end, self._next_watch, *(command.deadline for command in self._commands.values())]
        )
        return min(max(0.0, soonest - time.monotonic()), 3600.0) * 1000 + 1

    def _obey(self) -> bool:
        message, descriptors = wire.receive(self._control, spilled=True)
        if message is None:
            return False
        try:
            self._orders[message["op"]](message, descriptors)
        finally:
            wire.close_all(descriptors)
        return True

    # ------------------------------------------------------------------------------------------ commands

    def _run(self, order: dict[str, Any], descriptors: list[int]) -> None:
        status, out, err = descriptors[:3]
        stdin = descriptors[3] if len(descriptors) > 3 else self._null
        tag = self._tags.next()
        try:
            pid = _spawn(order, (stdin, out, err), self._user)
        except (OSError, ValueError) as error:
            self._tags.live.discard(tag)
            _not_started(order, error, status, err)
            return
        descriptors.remove(status)
        timeout = order["timeout"]
        deadline = float("inf") if timeout is None else time.monotonic() + timeout
        self._commands[pid] = _Command(tag, status, deadline)
        self._next_watch = min(self._next_watch, time.monotonic() + 0.05)

    def _reap(self) -> None:
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            command = self._commands.pop(pid, None)
            if command and command.status >= 0:
                code = os.waitstatus_to_exitcode(status)
                _tell(command.status, code if code >= 0 else 128 - code, self._flags)
            if not self._commands:
                self._flags = 0

    def _time_out(self) -> None:
        now = time.monotonic()
        for command in [command for command in self._commands.values() if command.deadline <= now]:
            command.deadline = float("inf")
            processes.end_tree(self._tags, command.tag)
            _tell(command.status, _TIME_OUT_CODE, TIMED_OUT)
            command.status = -1

    def _watch(self) -> None:
        """Keep memory and disk within bounds; not at work while nothing runs."""
        now = time.monotonic()
        if now < self._next_watch:
            return
        held, culprit, count = processes.memory()
        if held > self._memory and culprit:
            self._flags |= OUT_OF_MEMORY
            with contextlib.suppress(OSError):
                os.kill(culprit, signal.SIGKILL)
        if now >= self._next_disk:
            self._next_disk = now + _DISK_PAUSE
            if self._disk_full():
                self._flags |= OUT_OF_DISK
                processes.end_all()
        if count == 0 and not self._commands:
            self._next_watch = float("inf")
        else:
            self._next_watch = time.monotonic() + min(0.25, max(0.02, (self._memory - held) / _FASTEST_HOG))

    def _disk_full(self) -> bool:
        state = os.statvfs("/")
        return state.f_bavail * state.f_frsize < self._reserve

    # ------------------------------------------------------------------------------------------ files

    def _unpack(self, order: dict[str, Any], descriptors: list[int]) -> None:
        (reply, archive), directory = descriptors, order["directory"]
        if (done := quick.unpack(archive, directory)) is not None:
            answer(reply, {"done": done})
        else:
            self._aside(reply, lambda: archives.unpack(archive, directory))

    def _pack(self, order: dict[str, Any], descriptors: list[int]) -> None:
        (reply, target), directory, limit = descriptors, order["directory"], order["limit"]
        if (done := quick.pack(directory, limit, target)) is not None:
            answer(reply, {"done": done})
        else:
            self._aside(reply, lambda: archives.pack(directory, limit, target))

    def _export(self, order: dict[str, Any], descriptors: list[int]) -> None:
        written, state = self._outside
        self._aside(descriptors[0], lambda: archives.export(written, state, order["directory"]))

    def _aside(self, reply: int, work: Callable[[], int]) -> None:
        tag = self._tags.next()
        try:
            pid = os.fork()
        except OSError as error:
            self._tags.live.discard(tag)
            answer(reply, {"error": f"no process for it: {error.strerror}"})
            return
        if pid == 0:
            self._control.close()
            work_and_answer(reply, work)


def _spawn(order: dict[str, Any], streams: tuple[int, int, int], user: users.User) -> int:
    argv, env = order["argv"], {"HOME": user.home, **order["env"]}
    os.chdir(order["cwd"])
    try:
        program = _find(argv[0], env.get("PATH", ""))
        if not user.is_root:
            return users.spawn_as(user, program, argv, env, streams)
        actions = [(os.POSIX_SPAWN_DUP2, source, number) for number, source in enumerate(streams)]
        for attempt in range(20):
            try:
                return os.posix_spawn(
                    program, argv, env, file_actions=actions, setsid=True, setsigdef=users.RESTORED
                )
            except BlockingIOError:  # EAGAIN: a bomb has just been swept away and is not all gone yet
                if attempt == 19:
                    raise
                time.sleep(0.005)
        raise AssertionError("unreachable")
    finally:
        os.chdir("/")


def _find(name: str, path: str) -> str:
    """Like execvp: the first on the path that may be executed, else the reason the best one may not."""
    if "/" in name:
        return name
    found: str | None = None
    for directory in path.split(":"):
        candidate = f"{directory or '.'}/{name}"
        if os.path.isfile(candidate):
            if os.access(candidate, os.X_OK):
                return candidate
            found = found or candidate
    if found:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), name)
    raise FileNotFoundError(errno.ENOENT, "command not found", name)


def _not_started(order: dict[str, Any], error: OSError | ValueError, status: int, err: int) -> None:
    reason = error.strerror if isinstance(error, OSError) else str(error)
    where = error.filename if isinstance(error, OSError) and error.filename else order["argv"][0]
    if isinstance(where, bytes):
        where = os.fsdecode(where)
    with contextlib.suppress(OSError):
        os.write(err, os.fsencode(f"{where}: {reason}\n"))
    missing = isinstance(error, OSError) and error.errno in (errno.ENOENT, errno.ENOTDIR)
    with contextlib.suppress(OSError):
        os.write(status, STATUS.pack(127 if missing else 126, NOT_STARTED))


def _tell(status: int, code: int, flags: int) -> None:
    if status < 0:
        return
    with contextlib.suppress(OSError):
        os.write(status, STATUS.pack(code, flags))
    os.close(status)


# ---------------------------------------------------------------------------------------------- work in a child


def work_and_answer(reply: int, work: Callable[[], int | dict[str, int]]) -> None:
    """In a forked child: do it, say how it went, and be gone."""
    try:
        answer(reply, {"done": work()})
    except BaseException as error:  # all of it: this process answers and ends, whatever happened
        detail = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        name = f"{error.filename}: " if isinstance(error, OSError) and error.filename else ""
        answer(reply, {"error": f"{name}{detail}"[:1000] or type(error).__name__})
    finally:
        os._exit(0)


def answer(reply: int, message: dict[str, Any]) -> None:
    """One JSON object on the caller's pipe."""
    with contextlib.suppress(OSError):
        os.write(reply, json.dumps(message).encode())
