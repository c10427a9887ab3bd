"""A hijacked connection to the engine: what one process in a container reads and prints, its two streams apart."""

from __future__ import annotations

import contextlib
import socket
import time
from collections.abc import Iterator
from typing import Any

_CHUNK = 256 * 1024
_HEADER = 8


class Stream:
    """One connection. One thread sends and receives; any thread may close it, which ends the other's waiting."""

    def __init__(self, hijacked: Any) -> None:
        self._hijacked = hijacked
        self._socket: socket.socket = getattr(hijacked, "_sock", hijacked)
        self._header = b""
        self._channel = 0
        self._left = 0

    def send(self, content: bytes) -> None:
        """Send all of it.

        Raises:
            EOFError: the connection is gone.
        """
        try:
            self._socket.settimeout(60)
            self._socket.sendall(content)
        except (OSError, ValueError) as problem:
            raise EOFError(str(problem)) from problem

    def receive(self, until: float | None) -> list[tuple[int, bytes]]:
        """What comes next: pieces of channel 1 (output) and 2 (error).

        Raises:
            TimeoutError: it is later than `until` (monotonic). EOFError: the other side has ended.
        """
        try:
            self._socket.settimeout(None if until is None else max(0.001, until - time.monotonic()))
            content = self._socket.recv(_CHUNK)
        except TimeoutError:
            raise
        except (OSError, ValueError) as problem:
            raise EOFError(str(problem)) from problem
        if not content:
            raise EOFError("the stream has ended")
        return list(self._pieces(content))

    def _pieces(self, content: bytes) -> Iterator[tuple[int, bytes]]:
        """Frames taken apart: a byte for the channel, three of nothing, four of length, so many of content."""
        at = 0
        while at < len(content):
            if not self._left:
                taken = content[at : at + _HEADER - len(self._header)]
                self._header += taken
                at += len(taken)
                if len(self._header) < _HEADER:
                    return
                self._channel = self._header[0]
                self._left = int.from_bytes(self._header[4:], "big")
                self._header = b""
                continue
            piece = content[at : at + self._left]
            at += len(piece)
            self._left -= len(piece)
            yield self._channel, piece

    def cut(self) -> None:
        """End it for both sides, from any thread."""
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Let go of it."""
        self.cut()
        response = getattr(self._hijacked, "_response", None)
        for each in (self._hijacked, self._socket, response):
            if each is not None:
                with contextlib.suppress(OSError, ValueError):
                    each.close()
