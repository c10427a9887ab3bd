"""Running one command: three pipes lent to the sandbox's PID 1, a poll loop, and a bounded memory of what was said."""

from __future__ import annotations

import contextlib
import os
import select
import time
from dataclasses import dataclass

from cooperbench.eval.backends.base import Completed
from cooperbench.eval.backends.local.inside import agent
from cooperbench.eval.backends.tail import Tail

GRACE = 0.2
"""Seconds of silence after which a background process that still holds the output is left alone."""
_LONGEST_GRACE = 1.0
_CHUNK = 256 * 1024
_REASONS = {
    agent.OUT_OF_MEMORY: "the sandbox held more memory than it may; its largest process was killed",
    agent.OUT_OF_DISK: "the disk under the sandbox is nearly full; its processes were killed",
}


@dataclass(slots=True)
class Pipes:
    """The harness's ends of a command's pipes."""

    status: int
    out: int
    err: int
    stdin: int = -1

    def close(self) -> None:
        """Close what is open."""
        for descriptor in (self.status, self.out, self.err, self.stdin):
            if descriptor >= 0:
                with contextlib.suppress(OSError):
                    os.close(descriptor)


def open_pipes(stdin: bool) -> tuple[Pipes, list[int]]:
    """Our ends, and the command's: status, stdout, stderr and, if asked for, stdin."""
    ours, theirs = [], []
    try:
        for _ in range(3):
            read, write = os.pipe()
            ours.append(read)
            theirs.append(write)
        if stdin:
            read, write = os.pipe()
            ours.append(write)
            theirs.append(read)
            os.set_blocking(write, False)
    except OSError:
        for descriptor in ours + theirs:
            os.close(descriptor)
        raise
    return Pipes(*ours), theirs


class Conversation:
    """Listens to one command until it is over."""

    def __init__(self, pipes: Pipes, gone: int, stdin: bytes, limit: int) -> None:
        self._pipes = pipes
        self._gone = gone
        self._stdin = memoryview(stdin)
        self._streams = {pipes.out: Tail(limit), pipes.err: Tail(limit)}
        self._open = set(self._streams)
        self._ended: tuple[int, int] | None = None
        self._silence = float("inf")
        self._patience = float("inf")
        self._poll = select.poll()
        for descriptor in (gone, pipes.status, pipes.out, pipes.err):
            self._poll.register(descriptor, select.POLLIN)
        if pipes.stdin >= 0:
            self._poll.register(pipes.stdin, select.POLLOUT)

    def listen(self, until: float) -> Completed | None:
        """The result; None when the sandbox went away or `until` came first."""
        while self._open or self._ended is None:
            now = time.monotonic()
            if now >= until:
                return None
            if self._ended and now >= min(self._silence, self._patience):
                break
            wait = min(until, self._silence, self._patience, now + 3600.0) - now
            ready = {descriptor for descriptor, _ in self._poll.poll(wait * 1000 + 1)}
            self._serve(ready)
            if self._ended is None and ready & {self._gone, self._pipes.status}:
                return None
        return self._completed()

    def _serve(self, ready: set[int]) -> None:
        if self._pipes.stdin in ready:
            self._feed()
        for descriptor in ready & self._open:
            self._read(descriptor)
        if self._pipes.status in ready and self._ended is None:
            record = os.read(self._pipes.status, agent.STATUS.size)
            if len(record) == agent.STATUS.size:
                self._ended = agent.STATUS.unpack(record)
                self._poll.unregister(self._pipes.status)
                now = time.monotonic()
                self._silence, self._patience = now + GRACE, now + _LONGEST_GRACE

    def _feed(self) -> None:
        try:
            written = os.write(self._pipes.stdin, self._stdin[:65536]) if self._stdin else 0
            self._stdin = self._stdin[written:]
        except BlockingIOError:
            return
        except BrokenPipeError:
            self._stdin = self._stdin[:0]
        if not self._stdin:
            self._poll.unregister(self._pipes.stdin)
            os.close(self._pipes.stdin)
            self._pipes.stdin = -1

    def _read(self, descriptor: int) -> None:
        chunk = os.read(descriptor, _CHUNK)
        if not chunk:
            self._poll.unregister(descriptor)
            self._open.discard(descriptor)
            return
        self._streams[descriptor].add(chunk)
        if self._ended:
            self._silence = time.monotonic() + GRACE

    def _completed(self) -> Completed:
        assert self._ended is not None
        code, flags = self._ended
        out, err = self._streams[self._pipes.out], self._streams[self._pipes.err]
        notes = "".join(f"[cooperbench: {reason}]\n" for flag, reason in _REASONS.items() if flags & flag)
        return Completed(
            returncode=code,
            stdout=out.content(),
            stderr=err.content() + notes.encode(),
            timed_out=bool(flags & agent.TIMED_OUT),
            truncated=out.truncated or err.truncated,
        )
