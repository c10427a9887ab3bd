"""The harness's end of one lane: telling it what to do and listening to what comes of it. See ``lane.sh``."""

from __future__ import annotations

import secrets
import threading
import time
from functools import cache
from importlib import resources

from cooperbench.eval.backends.docker.listening import Listening
from cooperbench.eval.backends.docker.stream import Stream

TAG_NAME = "COOPERBENCH_COMMAND"
"""The variable in a command's environment by which its processes are found."""

_LONGEST_FAREWELL = 4096


class LaneLost(Exception):
    """The lane's connection ended; holds what was said instead of what was expected."""


class Lane:
    """One lane. A thread at a time uses it."""

    def __init__(self, stream: Stream, ready: str, exec_id: str | None = None) -> None:
        self._stream = stream
        self._ready = ready.encode()
        self.exec_id = exec_id
        """The engine's name for it; None for the first process of the container."""
        self.pid = 0

    @staticmethod
    def command(ready: str, directory: str) -> list[str]:
        """The command line of a lane."""
        return ["/bin/sh", "-c", script(), "lane", ready, directory, TAG_NAME]

    def wait_ready(self, seconds: float) -> None:
        """Wait until the lane has said it is there.

        Raises:
            LaneLost: it will not be there. TimeoutError: it is not in time.
        """
        until = time.monotonic() + seconds
        said = b""
        while True:
            try:
                pieces = self._stream.receive(until)
            except EOFError as problem:
                raise LaneLost(said.decode("utf-8", "replace").strip()) from problem
            said += b"".join(content for _, content in pieces)
            _, found, line = said.partition(self._ready)
            pid, whole, _ = line.partition(b"\n")
            if found and whole:
                self.pid = int(pid)
                return
            said = said[-_LONGEST_FAREWELL:]

    def tell(self, request: bytes) -> None:
        """Send one line to be evaluated.

        Raises:
            LaneLost: nobody is there.
        """
        try:
            self._stream.send(request + b"\n")
        except EOFError as problem:
            raise LaneLost(str(problem)) from problem

    def listen(self, listening: Listening, until: float | None) -> bool:
        """Listen until the command is over; False: it is later than `until`.

        Raises:
            LaneLost: the connection ended before.
        """
        while not listening.over:
            try:
                for channel, content in self._stream.receive(until):
                    listening.feed(channel, content)
            except TimeoutError:
                return False
            except EOFError as problem:
                raise LaneLost(str(problem)) from problem
        return True

    def drain(self) -> None:
        """From now on nobody listens: keep its streams from filling up, or what still prints into them would wait."""
        threading.Thread(target=self._discard, name="docker lane nobody uses", daemon=True).start()

    def _discard(self) -> None:
        try:
            while True:
                self._stream.receive(None)
        except EOFError:
            return

    def cut(self) -> None:
        self._stream.cut()

    def close(self) -> None:
        self._stream.close()


def new_word() -> str:
    """A word that nobody can print by chance or guess."""
    return secrets.token_hex(16)


@cache
def script() -> str:
    """The lane's program."""
    text = resources.files(__package__).joinpath("lane.sh").read_text("utf-8")
    # Comments are for readers; the engine keeps the command line with the container.
    return "\n".join(line for line in text.splitlines() if not line.lstrip().startswith("#"))
