"""A bounded memory of what a command printed. Pure."""

from __future__ import annotations


class Tail:
    """The last `limit` bytes of a stream."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._kept = bytearray()
        self.total = 0

    def add(self, chunk: bytes) -> None:
        """Take more; forget the oldest when it is too much."""
        self.total += len(chunk)
        self._kept += chunk
        if len(self._kept) > 2 * self._limit:  # seldom, so that what is moved costs little
            del self._kept[: len(self._kept) - self._limit]

    @property
    def truncated(self) -> bool:
        """Something was forgotten."""
        return self.total > self._limit

    def content(self) -> bytes:
        """What is kept; when that is not all, a line at its head says so."""
        kept = bytes(self._kept)
        if not self.truncated:
            return kept
        head = f"[cooperbench: {self.total} bytes of output; only the last {self._limit} are kept]\n"
        return head.encode() + kept[-self._limit :]
