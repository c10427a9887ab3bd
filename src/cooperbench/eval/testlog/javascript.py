"""jest, vitest and node:test. Each ends with a block of lines; only a whole block is a summary."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import replace

from cooperbench.eval.testlog.session import Session, tally

_SUITES = re.compile(rb"Test Suites: +(\d.*)")
_TESTS = re.compile(rb"Tests: +(\d.*)")
_FILE = re.compile(rb"(PASS|FAIL) .*\.[cm]?[jt]sx?(?: \(.*\))?")


class Jest:
    """``Test Suites:`` with ``Tests:`` under it; each suite has had its own ``PASS`` or ``FAIL`` line."""

    def __init__(self, truncated: bool = False) -> None:
        self.open = False
        self._truncated = truncated
        self._found: list[Session] = []
        self._suites: dict[str, int] | None = None
        self._begin()

    def _begin(self) -> None:
        self._passing = 0
        self._failing = 0
        self._exited = False

    def feed(self, line: bytes) -> None:
        """See `Reader.feed`."""
        suites, self._suites = self._suites, None
        if found := _SUITES.fullmatch(line):
            self._suites = tally(found.group(1))
        elif suites is not None and (tests := _TESTS.fullmatch(line)):
            self._found.append(self._session(suites, tally(tests.group(1))))
            self._begin()
        elif file := _FILE.fullmatch(line):
            self._passing += file.group(1) == b"PASS"
            self._failing += file.group(1) == b"FAIL"
        elif b"process.exit called with" in line:
            self._exited = True

    def _session(self, suites: Mapping[str, int], tests: Mapping[str, int]) -> Session:
        failed, broken = tests.get("failed", 0), suites.get("failed", 0)
        session = _counted("jest", tests)
        if broken and not failed:  # a suite that could not even be loaded has no tests
            return replace(session, errors=broken)
        if failed:
            return session
        return replace(session, problem=_unsound("jest", tests) or self._doubt(suites))

    def _doubt(self, suites: Mapping[str, int]) -> str | None:
        if self._exited:
            return "process.exit was called under jest"
        if self._failing:
            return "a suite was seen to fail, but jest's summary tells of no failure"
        if 0 < self._passing < suites.get("passed", 0) and not self._truncated:
            return f"jest claims {suites['passed']} suites passed, but only {self._passing} were seen to pass"
        return None

    def sessions(self) -> Iterable[Session]:
        """See `Reader.sessions`."""
        if (self._passing or self._failing or self._exited) and not self._found:
            self._found.append(Session("jest", problem="jest ended without its summary"))
        return self._found


_FILES = re.compile(rb" *Test Files  +(\d.*) \((\d{1,9})\)")
_CASES = re.compile(rb" *Tests  +(\d.*) \((\d{1,9})\)")
_ERRORS = re.compile(rb" *(?:Errors|Type Errors)  +(\d{1,9}) errors?")
_VITEST = re.compile(rb" (?:RUN|DEV)  v\d.*")


class Vitest:
    """``Test Files`` with ``Tests`` under it."""

    def __init__(self, truncated: bool = False) -> None:
        self.open = False
        self._truncated = truncated
        self._found: list[Session] = []
        self._files: dict[str, int] | None = None
        self._running = False

    def feed(self, line: bytes) -> None:
        """See `Reader.feed`."""
        files, self._files = self._files, None
        if _VITEST.fullmatch(line):
            self._end()
            self._running = True
        elif found := _FILES.fullmatch(line):
            self._files = _with_total(found)
        elif files is not None and (tests := _CASES.fullmatch(line)):
            self._found.append(self._session(files, _with_total(tests)))
            self._running = False
        elif self._found and (errors := _ERRORS.fullmatch(line)):
            self._found[-1] = replace(self._found[-1], errors=self._found[-1].errors + int(errors.group(1)))

    def _session(self, files: Mapping[str, int], tests: Mapping[str, int]) -> Session:
        session = _counted("vitest", tests)
        if session.failed:
            return session
        return replace(session, errors=files.get("failed", 0), problem=_unsound("vitest", tests))

    def _end(self) -> None:
        if self._running:
            self._found.append(Session("vitest", problem="vitest ended without its summary"))

    def sessions(self) -> Iterable[Session]:
        """See `Reader.sessions`."""
        self._end()
        return self._found


_TAP = re.compile(rb"TAP version 1[34]")
_NODE = re.compile(rb"(?:#|\xe2\x84\xb9) ([a-z_]+) (\d{1,9})(?:\.\d+)?")
_BLOCK = ("tests", "suites", "pass", "fail", "cancelled", "skipped", "todo", "duration_ms")
_NOT_OK = re.compile(rb"not ok \d+ (?!.*# (?:TODO|SKIP)).*")


class NodeTest:
    """A block from ``tests`` to ``duration_ms``; under a TAP header the last one, for diagnostics may look like it."""

    def __init__(self, truncated: bool = False) -> None:
        self.open = False
        self._truncated = truncated
        self._found: list[Session] = []
        self._block: dict[str, int] = {}
        self._not_ok = 0

    def feed(self, line: bytes) -> None:
        """See `Reader.feed`."""
        if _TAP.fullmatch(line):
            self._end()
            self.open = True
        elif found := _NODE.fullmatch(line):
            self._count(found.group(1).decode(), int(found.group(2)))
        elif self._block:
            # A coverage report follows the summary, as comments of the same kind.
            self._block = self._block if len(self._block) == len(_BLOCK) and line.startswith(b"# ") else {}
        elif _NOT_OK.fullmatch(line):
            self._not_ok += 1

    def _count(self, key: str, number: int) -> None:
        if key == _BLOCK[0]:
            self._block = {}
        if len(self._block) == len(_BLOCK) or key != _BLOCK[len(self._block)]:
            self._block = {}
            return
        self._block[key] = number
        if key == _BLOCK[-1] and not self.open:
            self._end()

    def _end(self) -> None:
        block = self._block
        if len(block) == len(_BLOCK):
            self._found.append(self._session(block))
        elif self.open:
            self._found.append(Session("node", problem="node:test ended without its summary"))
        self._block, self._not_ok, self.open = {}, 0, False

    def _session(self, block: Mapping[str, int]) -> Session:
        skipped = block.get("skipped", 0) + block.get("todo", 0)
        session = Session("node", block["pass"], block["fail"], block.get("cancelled", 0), skipped)
        if session.failed or session.errors:
            return session
        if self._not_ok:
            return replace(
                session, problem="a test was seen to fail, but node:test's summary tells of no failure"
            )
        return replace(session, problem=_sum_problem("node:test", session.passed + skipped, block["tests"]))

    def sessions(self) -> Iterable[Session]:
        """See `Reader.sessions`."""
        self._end()
        return self._found


def _with_total(found: re.Match[bytes]) -> dict[str, int]:
    return {**tally(found.group(1)), "total": int(found.group(2))}


def _counted(framework: str, tests: Mapping[str, int]) -> Session:
    skipped = tests.get("skipped", 0) + tests.get("todo", 0) + tests.get("pending", 0)
    return Session(framework, tests.get("passed", 0), tests.get("failed", 0), skipped=skipped)


def _unsound(framework: str, tests: Mapping[str, int]) -> str | None:
    parts = sum(number for word, number in tests.items() if word != "total")
    return _sum_problem(framework, parts, tests.get("total", parts))


def _sum_problem(framework: str, parts: int, total: int) -> str | None:
    return (
        None if parts == total else f"{framework}'s summary tells of {total} tests, but accounts for {parts}"
    )
