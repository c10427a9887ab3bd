"""What is said between a sandbox here and its container there: requests and answers as objects, each written once."""

from __future__ import annotations

import shlex
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from cooperbench.errors import BackendError, SandboxLost, UsageError
from cooperbench.eval.backends.gcp.store import Store

_FIRST_PAUSE, _LONGEST_PAUSE = 0.03, 1.0
_GROWTH = 1.25
_LOOK_EVERY = 3.0
"""Seconds between looks at whether the other side is still there."""

_KNOCK_EVERY = 20.0
"""Seconds of waiting after which the other side is asked for a sign of life."""
_SILENCE = 60.0
"""Seconds it may take to give one, on a machine that is busy with what we wait for."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What one request came to."""

    code: int
    out: bytes
    err: bytes


def fragment(*words: str) -> bytes:
    """One line of a shell's that the agent reads: a function of its and arguments.

    Raises:
        UsageError: a word holds a NUL, which no program can be given.
    """
    if any("\0" in word for word in words):
        raise UsageError("an argument cannot hold a NUL")
    return " ".join(map(shlex.quote, words)).encode("utf-8", "surrogateescape") + b"\n"


class Mailbox:
    """The objects of one sandbox, below `box`."""

    def __init__(self, store: Store, box: str) -> None:
        self._store = store
        self._box = box
        self._lock = threading.Lock()
        self._sent = 0
        self._pulse = threading.Lock()
        self._heard = time.monotonic()
        self._knocked: tuple[int, float] | None = None
        """A request for a sign of life, and since when it waits."""

    def send(self, request: bytes, content: bytes | None = None) -> int:
        """Ask for something, with bytes of any length beside it; returns the request's number.

        Raises:
            BackendError: it cannot be known whether the request is there; the requests after it may never be read.
        """
        with self._lock:
            number = self._sent + 1
            if content is not None:
                self._store.create(f"{self._box}/f/{number}", content)
            # It is there if this succeeds, and also if it says that it was there: the first answer was lost.
            self._store.create(f"{self._box}/in/{number}", request)
            self._sent = number
            return number

    def stop(self) -> None:
        """Say that nothing more is asked.

        Raises:
            BackendError: it cannot be known whether that was said.
        """
        with self._lock:
            # What is there already is a request of ours that was not known to be.
            while not self._store.create(f"{self._box}/in/{self._sent + 1}", b"stop\n"):
                self._sent += 1

    def receive(self, number: int, check: Callable[[], None], ended: threading.Event) -> Answer:
        """The answer to a request.

        Args:
            check: raises when there will be none; asked now and then.
            ended: set when nobody wants it any more; `check` raises then.
        """
        content = self.wait_for(f"out/{number}", check, ended)
        head, _, rest = content.partition(b"\n")
        numbers = head.split()
        if len(numbers) != 3 or not all(each.isdigit() and len(each) < 12 for each in numbers):
            raise BackendError("the machine sent an answer that is none")
        code, out, err = map(int, numbers)
        if out + err != len(rest):
            raise BackendError("the machine sent an answer that is cut short")
        return Answer(code, rest[:out], rest[out:])

    def wait_for(self, name: str, check: Callable[[], None], ended: threading.Event) -> bytes:
        """An object of the other side's, once it is there."""
        pause, looked = _FIRST_PAUSE, time.monotonic()
        while (content := self._store.read(f"{self._box}/{name}")) is None:
            if ended.wait(pause) or time.monotonic() - looked > _LOOK_EVERY:
                try:
                    check()
                except SandboxLost:
                    # It may have been the last thing the other side did.
                    if (
                        not ended.is_set()
                        and (content := self._store.read(f"{self._box}/{name}")) is not None
                    ):
                        return content
                    raise
                looked = time.monotonic()
            pause = min(pause * _GROWTH, _LONGEST_PAUSE)
        return content

    def is_silent(self) -> bool:
        """Whether the other side has given no sign of life for long; one is asked for now and then.

        The service learns late of a machine that just stopped.
        """
        with self._pulse:
            now = time.monotonic()
            if self._knocked is None:
                if now - self._heard > _KNOCK_EVERY:
                    self._knocked = self.send(fragment("do_nothing")), now
                return False
            number, since = self._knocked
            if self._store.read(f"{self._box}/out/{number}") is None:
                return now - since > _SILENCE
            self._heard, self._knocked = now, None
            return False

    def farewell(self) -> str | None:
        """Why the sandbox is over, in the agent's words; None while it is not."""
        content = self._store.read(f"{self._box}/gone")
        return None if content is None else content.decode("utf-8", "replace").strip()
