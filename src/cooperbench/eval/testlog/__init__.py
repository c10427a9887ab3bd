"""Counts out of the log of a test run: what the framework's own final summary says, and whether to believe it.

Only a summary of the right shape, in the right place of its session, counts; "999 passed" printed by the code under
test does not. Everything a summary leaves to be checked (tests collected, tests seen to pass, totals) is checked. What
is enough to pass is `eval.facts`. Code that runs in the test process can still print a whole, sound log: this makes
a forgery laborious, `eval.integrity` makes it visible, and neither makes it impossible.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from cooperbench.eval.testlog.compiled import GoTest, Libtest, Typst
from cooperbench.eval.testlog.javascript import Jest, NodeTest, Vitest
from cooperbench.eval.testlog.python import HEADER, Pytest, Unittest
from cooperbench.eval.testlog.session import Reader, Session, lines


@dataclass(frozen=True, slots=True)
class Counts:
    """What the tests did, over all sessions of a log."""

    passed: int
    failed: int
    errors: int
    skipped: int
    total: int
    framework: str | None
    """``pytest``, ``unittest``, ``go``, ``cargo``, ``typst``, ``jest``, ``vitest``, ``node``; ``+`` between several."""
    sessions: int
    consistent: bool
    """Every session is complete and agrees with itself."""
    problem: str | None
    """The first reason why not, in words."""


def counts(log: bytes, *, truncated: bool = False) -> Counts:
    """Read a log.

    Args:
        log: Standard output and error of a test run, any bytes.
        truncated: Its middle was left out, so nothing is concluded from lines that are missing.
    """
    sessions = _sessions(log, truncated)
    problem = next((s.problem for s in sessions if s.problem), None)
    if not sessions:
        problem = "the log holds no summary of a known test framework"
    passed, failed = sum(s.passed for s in sessions), sum(s.failed for s in sessions)
    errors, skipped = sum(s.errors for s in sessions), sum(s.skipped for s in sessions)
    return Counts(
        passed=passed,
        failed=failed,
        errors=errors,
        skipped=skipped,
        total=passed + failed + errors + skipped,
        framework="+".join(dict.fromkeys(s.framework for s in sessions)) or None,
        sessions=len(sessions),
        consistent=problem is None,
        problem=problem,
    )


def _sessions(log: bytes, truncated: bool) -> list[Session]:
    pytest = Pytest(truncated)
    rest: list[Reader] = [
        kind(truncated) for kind in (Libtest, NodeTest, Unittest, GoTest, Typst, Jest, Vitest)
    ]
    readers: list[Reader] = [pytest, *rest]
    owner: Reader | None = None
    for line in lines(log):
        # An open session owns its lines: what looks like another framework there was printed by a test.
        if owner is not None and owner.open and not HEADER.fullmatch(line):
            owner.feed(line)
            continue
        for reader in readers:
            reader.feed(line)
        owner = next((reader for reader in readers if reader.open), None)
    return _bound([session for reader in readers for session in reader.sessions()])


def _bound(sessions: list[Session]) -> list[Session]:
    """Without the weak ones where there are others; failures are never left out."""
    weak = [session for session in sessions if session.weak]
    if len(weak) == len(sessions):
        return weak[-1:]
    failed = [replace(session, passed=0) for session in weak if session.failed or session.errors]
    return [session for session in sessions if not session.weak] + failed
