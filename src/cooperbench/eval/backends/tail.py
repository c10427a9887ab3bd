"""A bounded memory of what a command printed. Pure."""

from __future__ import annotations

from collections import deque


class Tail:
    """The last `limit` bytes of a stream."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._chunks: deque[bytes] = deque()
        self._kept = 0
        self.total = 0

    def add(self, chunk: bytes) -> None:
        """Take more; forget the oldest when it is too much."""
        self._chunks.append(chunk)
        self.total += len(chunk)
        self._kept += len(chunk)
        while self._kept - len(self._chunks[0]) >= self._limit:
            self._kept -= len(self._chunks.popleft())

    @property
    def truncated(self) -> bool:
        """Something was forgotten."""
        return self.total > self._limit

    def content(self) -> bytes:
        """What is kept; when that is not all, a line at its head says so."""
        kept = b"".join(self._chunks)
        if not self.truncated:
            return kept
        head = f"[cooperbench: {self.total} bytes of output; only the last {self._limit} are kept]\n"
        return head.encode() + kept[-self._limit :]
