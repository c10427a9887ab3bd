"""The team's scratchpad: one page that everybody may add to or write anew."""

from __future__ import annotations

from dataclasses import dataclass

from cooperbench.collaboration.journal import Journal
from cooperbench.errors import UsageError

PAGE_LIMIT = 256 * 1024
"""Bytes (UTF-8) of the whole page."""


@dataclass(frozen=True, slots=True)
class Note:
    """One piece of the page."""

    author: str
    at: float
    text: str


class Scratchpad:
    """The page of one trial."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._notes: tuple[Note, ...] = ()

    def read(self, reader: str) -> tuple[Note, ...]:
        """The page, oldest piece first."""
        with self._journal.turn(reader, "notes"):
            return self._notes

    def append(self, author: str, text: str) -> None:
        """Add a piece."""
        with self._journal.turn(author, "note"):
            size = sum(len(note.text.encode("utf-8", "surrogatepass")) for note in self._notes)
            if size + len(text.encode("utf-8", "surrogatepass")) > PAGE_LIMIT:
                raise UsageError(
                    f"the page is full ({PAGE_LIMIT // 1024} KiB): write it anew, with note replace"
                )
            self._write(author, "append", text, self._notes)

    def replace(self, author: str, text: str) -> None:
        """Make this the whole page."""
        with self._journal.turn(author, "note"):
            self._write(author, "replace", text, ())

    def _write(self, author: str, action: str, text: str, before: tuple[Note, ...]) -> None:
        self._journal.admit(author, text)
        at = self._journal.add(author, "note", action=action, text=text).at
        self._notes = (*before, Note(author, at, text))
