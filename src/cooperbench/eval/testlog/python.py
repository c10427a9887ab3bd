"""pytest and unittest.

A pytest session is bound by its header; its summary must agree with the number of tests collected and with what was
printed test by test. Without a header (``-q``) the progress lines take its place.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import replace

from cooperbench.eval.testlog.session import Session, tally

HEADER = re.compile(rb"={3,} test session starts(?: \(.*\))? ={3,}")
_SUMMARY = re.compile(
    rb"(=+ )?((?:\d{1,9} [a-z ]+|no tests ran|(?:[\d/]{1,19}|no) tests? collected(?: \(\d+ deselected\))?)"
    rb"(?:, \d{1,9} [a-z ]+)*) in \d[\d.]* ?s(?:econds)?(?: \([\w:, ]+\))?( =+)?"
)
_REPORT = re.compile(rb"={3,} .+ ={3,}")
_COLLECTED = re.compile(rb"(?:.*collecting \.\.\. ?)?collected (\d{1,9}) items?(.*)")
_WORKERS = re.compile(rb"\d+ workers? \[(\d{1,9}) items?\]|(?:gw\d+ \[(\d{1,9})\](?: / )?)+")
_OUTCOMES = (
    re.compile(rb"(?:^| )(PASSED|FAILED|ERROR|SKIPPED|XFAIL|XPASS)$"),
    re.compile(rb"(?:^| )(SKIPPED|XFAIL|XPASS) \(.*\)$"),
    re.compile(rb"(PASSED)$"),  # with -s, behind what the test has printed without a line end
)
_DONE = re.compile(rb"\[[ \d%/]{1,12}\]$")
_WORKER = re.compile(rb"\[gw\d+\] \[ *\d+%\] (PASSED|FAILED|ERROR|SKIPPED|XFAIL|XPASS) .*")
_PROGRESS = re.compile(rb"(?:.* )?([.FEsxXRuU,-]+) *\[ *\d+%\]")


class Pytest:
    """Sessions with a header, and quiet ones without."""

    def __init__(self, truncated: bool = False) -> None:
        self._truncated = truncated
        self._found: list[Session] = []
        self._begin(headed=False)

    def _begin(self, headed: bool) -> None:
        self._headed = headed
        self._last: Session | None = None
        self._collected: int | None = None
        self._set_aside = 0
        self._forget()

    def _forget(self) -> None:
        self._seen: Counter[bytes] = Counter()
        self._verbose = False
        self._reporting = False
        self._nested = 0

    @property
    def open(self) -> bool:
        """See `Reader.open`."""
        return self._headed and self._last is None

    def feed(self, line: bytes) -> None:
        """See `Reader.feed`."""
        if HEADER.fullmatch(line):
            if self._reporting:  # printed by a test that itself runs pytest
                self._nested += 1
            else:
                self._end()
                self._begin(headed=True)
        elif summary := _SUMMARY.fullmatch(line):
            self._summarise(summary)
        elif _REPORT.fullmatch(line):
            self._reporting = self.open
        elif not self._reporting:
            self._observe(line)

    def _observe(self, line: bytes) -> None:
        if collected := _COLLECTED.fullmatch(line):
            apart = tally(collected.group(2))
            self._collected = int(collected.group(1)) - apart.get("deselected", 0)
            self._set_aside = apart.get("skipped", 0)
        elif workers := _WORKERS.fullmatch(line):
            self._collected = int(workers.group(1) or workers.group(2))
        elif worker := _WORKER.fullmatch(line):
            self._verbose = True
            self._seen[worker.group(1)] += 1
        elif progress := _PROGRESS.fullmatch(line):
            self._seen.update(bytes((mark,)) for mark in progress.group(1))
        else:
            self._observe_outcome(_DONE.sub(b"", line).rstrip(b" "))

    def _observe_outcome(self, line: bytes) -> None:
        outcome = next((found for pattern in _OUTCOMES if (found := pattern.search(line))), None)
        if outcome is None:
            return
        named = line.find(b"::", 0, outcome.start()) > 0
        # Alone on its line, or behind other text, where the test has printed something (-s).
        if named or outcome.start() == 0 or outcome.group(1) == b"PASSED":
            self._verbose = self._verbose or named
            self._seen[outcome.group(1)] += 1

    def _summarise(self, summary: re.Match[bytes]) -> None:
        framed = summary.group(1) is not None and summary.group(3) is not None
        if framed and self._nested:
            self._nested -= 1
        elif framed and (self._headed or self._truncated):
            session = self._judged(summary.group(2))
            if self._last is None:
                self._last = session
            elif replace(self._last, problem=None) != replace(session, problem=None):
                self._last = replace(session, problem="a pytest session has two summaries that differ")
            self._headed = True
            self._forget()
        elif not framed and not self.open:
            session = replace(self._judged(summary.group(2)), weak=not self._seen)
            self._end()
            self._begin(headed=False)
            self._found.append(session)

    def _judged(self, summary: bytes) -> Session:
        get = tally(summary).get
        passed, skipped = get("passed", 0) + get("xpassed", 0), get("skipped", 0) + get("xfailed", 0)
        failed = get("failed", 0) + get("subtests failed", 0) + get("subtest failed", 0)
        errors = get("error", 0) + get("errors", 0)
        # A run that fails is a fail: only what claims to have passed has to prove it.
        listed = b" collected" in summary and not passed  # --collect-only
        problem = None if failed or errors or listed else self._doubt(passed, skipped)
        return Session("pytest", passed, failed, errors, skipped, problem)

    def _doubt(self, passed: int, skipped: int) -> str | None:
        if self._headed and self._collected is None and passed and not self._truncated:
            return f"pytest's summary claims {passed} passed, but nothing was collected"
        if self._collected is not None:
            accounted = passed + skipped - min(skipped, self._set_aside)
            if accounted < self._collected or passed > self._collected:
                return f"pytest collected {self._collected} tests, but its summary accounts for {accounted}"
        if self._truncated:
            return None
        return self._contradiction(passed)

    def _contradiction(self, passed: int) -> str | None:
        seen, shown = self._seen, None
        if self._verbose:
            shown = seen[b"PASSED"] + seen[b"XPASS"]
        elif any(mark in seen for mark in (b".", b"s", b"x", b"X")):
            shown = seen[b"."] + seen[b"X"]
        if shown is not None and shown < passed:
            return f"pytest's summary claims {passed} passed, but only {shown} were seen to pass"
        if seen[b"FAILED"] + seen[b"ERROR"] + seen[b"F"] + seen[b"E"]:
            return "a test was seen to fail, but pytest's summary tells of no failure"
        return None

    def _end(self) -> None:
        if self._headed:
            lost = Session("pytest", problem="a pytest session ended without its summary")
            self._found.append(self._last or lost)
        self._headed = False

    def sessions(self) -> Iterable[Session]:
        """See `Reader.sessions`."""
        self._end()
        return self._found


_RAN = re.compile(rb"Ran (\d{1,9}) tests? in \d[\d.]*s")
_RESULT = re.compile(rb"(OK|FAILED|NO TESTS RAN)(?: \((.*)\))?")
_NAMED = re.compile(rb"test\w* \(\w+(?:\.\w+)+\)(?: .*)?")
_VERDICT = re.compile(rb"(?:.* \.\.\. )?(ok|FAIL|ERROR|skipped .*|expected failure|unexpected success)")
_DETAIL = re.compile(rb"([a-z ]+)=(\d{1,9})")
_MARKS = re.compile(rb"[.FEsxu]+")


class Unittest:
    """Sessions end with ``Ran N tests`` and a verdict; with ``-v`` each test has had its own line."""

    def __init__(self, truncated: bool = False) -> None:
        self.open = False
        self._truncated = truncated
        self._found: list[Session] = []
        self._ruled = False
        self._begin()

    def _begin(self) -> None:
        self._ran: int | None = None
        self._named = 0
        self._ok = 0
        self._marks = b""

    def feed(self, line: bytes) -> None:
        """See `Reader.feed`."""
        ruled, self._ruled = self._ruled, line == b"-" * 70
        if ruled and (ran := _RAN.fullmatch(line)):
            if self._ran is not None:
                self._end()
            self._ran = int(ran.group(1))
        elif self._ran is not None and (result := _RESULT.fullmatch(line)):
            self._found.append(self._session(result))
            self._begin()
        elif self._ran is None:
            self._observe(line)

    def _observe(self, line: bytes) -> None:
        self._named += _NAMED.fullmatch(line) is not None
        if self._named and (outcome := _VERDICT.fullmatch(line)):
            self._ok += outcome.group(1) == b"ok"
        elif self._named and line.endswith(b"ok"):  # behind what the test has printed without a line end
            self._ok += 1
        elif _MARKS.fullmatch(line):
            self._marks = line

    def _session(self, result: re.Match[bytes]) -> Session:
        ran = self._ran or 0
        detail = {
            name.strip().decode(): int(number) for name, number in _DETAIL.findall(result.group(2) or b"")
        }
        failed = detail.get("failures", 0) + detail.get("unexpected successes", 0)
        errors = detail.get("errors", 0)
        if result.group(1) == b"FAILED" and not failed + errors:
            failed = 1
        skipped = detail.get("skipped", 0) + detail.get("expected failures", 0)
        # Skipped classes are counted as skipped, but not among the tests that ran: this is the least that passed.
        least = max(0, ran - failed - errors - skipped)
        shown = self._ok if self._named else self._marks.count(b".")
        passed = shown if least <= shown <= ran else least
        problem = None
        if self._named and shown < least and not (failed or errors or self._truncated):
            problem = f"unittest ran {ran} tests, but only {shown} were seen to pass"
        return Session("unittest", passed, failed, errors, skipped, problem)

    def _end(self) -> None:
        if self._ran is not None or self._named:
            self._found.append(Session("unittest", problem="a unittest run ended without its summary"))
        self._begin()

    def sessions(self) -> Iterable[Session]:
        """See `Reader.sessions`."""
        self._end()
        return self._found
