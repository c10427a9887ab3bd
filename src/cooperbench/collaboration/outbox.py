"""Which requests of one sandbox are served, and their answers on the way there: what of it the harness holds."""

from __future__ import annotations

import threading
from collections.abc import Iterator

from cooperbench.collaboration.requests import Answer

ROOM = 8 * 1024 * 1024
"""Bytes of answers that may wait for a sandbox before no request of it is looked at."""
SHORT = 2900
"""Bytes of an answer that goes through a pipe in one piece, as base64; a longer one travels as a file."""
_IN_ARGV = 24 * 1024
"""Bytes of answers that travel as arguments of one call."""
_IN_FILES = 4 * 1024 * 1024
"""Bytes of answers that travel as files of one call, or one answer of any size."""
_EACH = 512
"""What an answer takes beside its bytes, so that short ones are not free."""

_REMEMBERED = 4096
"""Requests that are known to have been served: a call that was under way meanwhile may still tell of one."""


class Ledger:
    """Which requests have been taken up. Safe to use from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._under_way: set[str] = set()
        self._served: dict[str, None] = {}

    def begin(self, name: str) -> bool:
        """Take up a request; False when it has been already."""
        with self._lock:
            if name in self._under_way or name in self._served:
                return False
            self._under_way.add(name)
            return True

    def end(self, name: str) -> None:
        """Its answer has been left."""
        with self._lock:
            self._under_way.discard(name)
            self._served[name] = None
            if len(self._served) > _REMEMBERED:
                del self._served[next(iter(self._served))]


class Outbox:
    """Answers in the order in which they were given. Used by one thread."""

    def __init__(self, room: int = ROOM) -> None:
        self._room = room
        self._answers: dict[str, Answer] = {}
        self.held = 0
        """Bytes of all of them."""

    def __len__(self) -> int:
        return len(self._answers)

    @property
    def full(self) -> bool:
        """Nothing more should be asked for: what is here must leave first."""
        return self.held >= self._room

    def add(self, name: str, answer: Answer) -> None:
        """Keep an answer for the request of this id, which has none here."""
        self._answers[name] = answer
        self.held += answer.size + _EACH

    def drop(self, name: str) -> Answer | None:
        """Forget the answer to a request; None when there is none."""
        answer = self._answers.pop(name, None)
        if answer is not None:
            self.held -= answer.size + _EACH
        return answer

    def batch(self) -> list[tuple[str, Answer]]:
        """As many of the first as one call carries; at least one if there is any."""
        batch: list[tuple[str, Answer]] = []
        in_argv = in_files = 0
        for name, answer in self._answers.items():
            in_argv += min(answer.size, SHORT) + 64
            in_files += answer.size if answer.size > SHORT else 0
            if batch and (in_argv > _IN_ARGV or in_files > _IN_FILES):
                break
            batch.append((name, answer))
        return batch


def pieces(files: dict[str, bytes]) -> Iterator[dict[str, bytes]]:
    """The same files, so many at a time that packing them takes little memory: a large one comes alone."""
    piece: dict[str, bytes] = {}
    size = 0
    for path, content in files.items():
        if piece and size + len(content) > _IN_FILES:
            yield piece
            piece, size = {}, 0
        piece[path] = content
        size += len(content)
    if piece:
        yield piece
