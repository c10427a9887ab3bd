"""Reading what one command prints between its marks, and keeping no more of it than was agreed. Pure."""

from __future__ import annotations

_LONGEST_LINE = 1 << 20
"""Bytes of a mark's own line; it lists process ids."""


class Tail:
    """The last bytes of a stream."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._kept = bytearray()
        self._dropped = 0

    def add(self, content: bytes) -> None:
        self._kept += content
        if len(self._kept) > 2 * self._limit:
            self._drop()

    def _drop(self) -> None:
        excess = len(self._kept) - self._limit
        if excess > 0:
            del self._kept[:excess]
            self._dropped += excess

    @property
    def truncated(self) -> bool:
        return self._dropped > 0 or len(self._kept) > self._limit

    def content(self) -> bytes:
        """What was kept, under a line that says so if it is not everything."""
        self._drop()
        if not self._dropped:
            return bytes(self._kept)
        return b"[cooperbench: %d bytes left out here]\n" % self._dropped + bytes(self._kept)


class Capture:
    """One stream of one command: what comes between ``WORD<…`` and ``WORD>…``, each up to the end of its line."""

    def __init__(self, word: bytes, limit: int) -> None:
        self.word = word.decode()
        self._marks = (word + b"<", word + b">")
        self._pending = b""
        self._kept = Tail(limit)
        self.opening: bytes | None = None
        """The rest of the first mark's line, once it was seen."""
        self.closing: bytes | None = None
        """The rest of the last mark's line, once it was seen."""

    def feed(self, content: bytes) -> None:
        """Take what came on this stream; anything outside the marks is somebody else's."""
        self._pending += content
        if self.opening is None:
            self.opening = self._marked(self._marks[0], keep=False)
        if self.opening is not None and self.closing is None:
            self.closing = self._marked(self._marks[1], keep=True)

    def _marked(self, mark: bytes, *, keep: bool) -> bytes | None:
        at = self._pending.find(mark)
        end = self._pending.find(b"\n", at) if at >= 0 else -1
        if at >= 0 and end < 0 and len(self._pending) - at > _LONGEST_LINE:
            end = len(self._pending) - 1
        # Of what is no mark yet, the last bytes may be the beginning of one.
        before = at if at >= 0 else max(0, len(self._pending) - len(mark) + 1)
        if keep and before:
            self._kept.add(self._pending[:before])
        if end < 0:
            self._pending = self._pending[before:]
            return None
        line = self._pending[at + len(mark) : end]
        self._pending = self._pending[end + 1 :]
        return line

    @property
    def truncated(self) -> bool:
        return self._kept.truncated

    def content(self) -> bytes:
        """What the command printed, as far as it was heard."""
        if self.opening is not None and self.closing is None:
            self._kept.add(self._pending)
            self._pending = b""
        return self._kept.content()


class Listening:
    """Both streams of one command."""

    def __init__(self, word: str, limit: int) -> None:
        self.output = Capture(word.encode(), limit)
        self.error = Capture(word.encode(), limit)

    def feed(self, channel: int, content: bytes) -> None:
        if channel == 1:
            self.output.feed(content)
        elif channel == 2:
            self.error.feed(content)

    @property
    def over(self) -> bool:
        """Both last marks were seen."""
        return self.output.closing is not None and self.error.closing is not None

    @property
    def begun(self) -> bool:
        return self.output.opening is not None

    @property
    def older(self) -> str:
        """The processes there were before the command."""
        return (self.output.opening or b"").decode("ascii", "replace")

    @property
    def status(self) -> int | None:
        """The command's exit code; None: the last mark's line was not written by a lane."""
        code = (self.output.closing or b"").partition(b" ")[0]
        return int(code) if code.isdigit() and len(code) < 4 else None

    @property
    def free(self) -> bool:
        """Nothing else has the lane's streams open: the next command may use them."""
        return (self.output.closing or b"").endswith(b" free")
