"""What every reader of test logs shares: the Session, the Reader protocol, lines out of bytes."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Protocol

_ESCAPES = re.compile(rb"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|[@-Z\\^_])")
_LONGEST = 2048
_PAIR = re.compile(rb"(\d{1,9}) ([a-z][a-z ]*)")


@dataclass(frozen=True, slots=True)
class Session:
    """One run of one test framework, as its own summary tells it."""

    framework: str
    passed: int = 0
    failed: int = 0
    errors: int = 0
    skipped: int = 0
    problem: str | None = None
    """Why the summary is not to be believed, in words."""
    weak: bool = False
    """Nothing binds the summary to a run: it counts only where there is nothing better."""


class Reader(Protocol):
    """Finds the sessions of one framework in a log, line by line."""

    @property
    def open(self) -> bool:
        """Whether a session is under way, so that lines are this reader's alone."""

    def feed(self, line: bytes) -> None:
        """Take one line, without colours and line end."""

    def sessions(self) -> Iterable[Session]:
        """What was found, once there are no more lines. Called once."""


_TELLING = re.compile(
    rb"[Tt]est|TAP|pass|PASS|FAIL|ERROR|SKIP|XFAIL|RUN|Ran |OK|ok|=== |fail|skipped|suites|cancelled|todo"
    rb"|duration_ms|collected|items\]|%\]|gw\d|-{70}|Running|Errors|process\.exit|expected failure"
    rb"|unexpected success|^[.FEsxu]+$|s =+$"
)


def lines(log: bytes) -> Iterator[bytes]:
    """The lines of a log that could tell a reader something.

    Without colours; carriage returns end a line too; the middle of overlong ones is left out.
    """
    plain = _ESCAPES.sub(b"", log).replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    at, size = 0, len(plain)
    while at < size:
        end = plain.find(b"\n", at)
        end = size if end < 0 else end
        line = plain[at:end] if end - at <= _LONGEST else plain[at : at + 1024] + plain[end - 1024 : end]
        if _TELLING.search(line):
            yield line
        at = end + 1


def tally(text: bytes) -> dict[str, int]:
    """``3 passed, 1 failed`` as a mapping; a word that comes twice is summed."""
    found: dict[str, int] = {}
    for number, word in _PAIR.findall(text):
        name = word.decode().strip()
        found[name] = found.get(name, 0) + int(number)
    return found
