"""go test, Rust's libtest (as `cargo test` runs it, binary by binary), and typst's own harness."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import replace

from cooperbench.eval.testlog.session import Session, tally

_PACKAGE = re.compile(
    rb"(ok  |FAIL)\t(\S+)(?:[\t ]+(\(cached\)|\d[\d.]*s))?((?:[\t ]+\[[^\]]*\]|\tcoverage: .*)*)"
)
# What a test prints without a line end stands before these; subtests are indented or have a slash.
_STARTED = re.compile(rb"(?:.*\S)?=== RUN +([^/\s]+)")
_FINISHED = re.compile(rb"(?:.*\S)?--- (PASS|FAIL|SKIP): ([^/\s]+) \([\d.]+s\)")


class GoTest:
    """One session a package. With ``-v`` its top-level tests are counted, else the package counts as one."""

    def __init__(self, truncated: bool = False) -> None:
        self.open = False
        self._truncated = truncated
        self._found: list[Session] = []
        self._begin()

    def _begin(self) -> None:
        self._started = 0
        self._finished: Counter[bytes] = Counter()

    def feed(self, line: bytes) -> None:
        """See `Reader.feed`."""
        if _STARTED.fullmatch(line):
            self._started += 1
        elif finished := _FINISHED.fullmatch(line):
            self._finished[finished.group(1)] += 1
        elif package := _PACKAGE.fullmatch(line):
            self._found.append(self._session(package))
            self._begin()

    def _session(self, package: re.Match[bytes]) -> Session:
        verdict, _, took, notes = package.groups()
        done, ended = self._finished, self._finished.total()
        counted = Session("go", done[b"PASS"], done[b"FAIL"], skipped=done[b"SKIP"])
        if verdict == b"FAIL":
            if took is None:  # [build failed], [setup failed]
                return replace(counted, errors=1)
            return replace(counted, failed=done[b"FAIL"] or 1)
        if b"[no tests to run]" in notes:
            return replace(counted, passed=0)
        if not self._started:
            return replace(counted, passed=1) if not ended else counted
        if self._started > ended and not self._truncated:
            return replace(counted, problem=f"{self._started} Go tests started, but only {ended} ended")
        if done[b"FAIL"]:
            return replace(counted, problem="a Go test failed in a package that is reported as ok")
        return counted

    def sessions(self) -> Iterable[Session]:
        """See `Reader.sessions`."""
        if self._started or self._finished:
            self._found.append(Session("go", problem="Go tests ran without their package's result"))
        return self._found


_RUNNING = re.compile(rb"running (\d{1,9}) tests?")
_RESULT = re.compile(rb"test result: (ok|FAILED)\. (\d.*?)(?:; finished in .*)?")
_TEST = re.compile(rb"test .+ \.\.\. (ok|FAILED|ignored)(?:, .*)?")


class Libtest:
    """A session runs from ``running N tests`` to ``test result:``, whose counts must add up to N."""

    def __init__(self, truncated: bool = False) -> None:
        self._truncated = truncated
        self._expected: int | None = None
        self._failures = 0
        self._found: list[Session] = []

    @property
    def open(self) -> bool:
        """See `Reader.open`."""
        return self._expected is not None

    def feed(self, line: bytes) -> None:
        """See `Reader.feed`."""
        if running := _RUNNING.fullmatch(line):
            self._end()
            self._expected, self._failures = int(running.group(1)), 0
        elif (result := _RESULT.fullmatch(line)) and (self.open or self._truncated):
            self._found.append(self._session(result))
            self._expected = None
        elif self.open and (test := _TEST.fullmatch(line)) and test.group(1) == b"FAILED":
            self._failures += 1

    def _session(self, result: re.Match[bytes]) -> Session:
        words = tally(result.group(2))
        passed, failed = words.get("passed", 0), words.get("failed", 0)
        skipped = words.get("ignored", 0) + words.get("measured", 0)
        session = Session("cargo", passed, failed, skipped=skipped)
        done, expected = passed + failed + skipped, self._expected
        if done != expected and not self._truncated:
            return replace(
                session, problem=f"{expected} Rust tests were to run, but the result accounts for {done}"
            )
        if not failed and (self._failures or result.group(1) != b"ok"):
            return replace(
                session, problem="a Rust test was seen to fail, but the result tells of no failure"
            )
        return session

    def _end(self) -> None:
        if self._expected is not None:
            self._found.append(Session("cargo", problem="a Rust test binary ended without its result"))
        self._expected = None

    def sessions(self) -> Iterable[Session]:
        """See `Reader.sessions`."""
        self._end()
        return self._found


_BINARY = re.compile(rb" +Running (?:unittests )?\S+(?: \(.*\))?")
_TYPST = re.compile(rb"(\d{1,9}) passed, (\d{1,9}) failed, (\d{1,9}) skipped")


class Typst:
    """The harness of typst's test suite: one summary for each binary that cargo runs."""

    def __init__(self, truncated: bool = False) -> None:
        self.open = False
        self._truncated = truncated
        self._found: list[Session] = []
        self._bound = False
        self._fresh = True

    def feed(self, line: bytes) -> None:
        """See `Reader.feed`."""
        if _BINARY.fullmatch(line):
            self._bound = self._fresh = True
        elif summary := _TYPST.fullmatch(line):
            passed, failed, skipped = (int(n) for n in summary.groups())
            session = Session("typst", passed, failed, skipped=skipped)
            if self._bound and not self._fresh and session != replace(self._found[-1], problem=None):
                session = replace(session, problem="one test binary has two summaries that differ")
            self._found.append(session)
            self._fresh = False

    def sessions(self) -> Iterable[Session]:
        """See `Reader.sessions`."""
        return self._found
