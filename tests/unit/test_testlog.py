"""Counts out of test logs. The logs in `testlogs/` are what the real tools wrote (Go's follow its documentation)."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cooperbench.eval.testlog import Counts, counts

LOGS = Path(__file__).parent / "testlogs"


def log(name: str) -> bytes:
    return (LOGS / f"{name}.txt").read_bytes()


def numbers(found: Counts) -> tuple[int, int, int, int]:
    return found.passed, found.failed, found.errors, found.skipped


@pytest.mark.parametrize(
    ("name", "framework", "expected"),
    [
        ("pytest_v", "pytest", (6, 0, 0, 2)),
        ("pytest_color", "pytest", (6, 0, 0, 2)),
        ("pytest_s", "pytest", (6, 0, 0, 2)),
        ("pytest_rA", "pytest", (6, 0, 0, 2)),
        ("pytest_xdist", "pytest", (6, 0, 0, 2)),
        ("pytest_plain", "pytest", (6, 0, 0, 3)),
        ("pytest_deselect", "pytest", (3, 0, 0, 0)),
        ("pytest_none", "pytest", (0, 0, 0, 0)),
        ("pytest_collect", "pytest", (0, 0, 0, 0)),
        ("pytest_v_fail", "pytest", (8, 1, 2, 2)),
        ("pytest_q", "pytest", (6, 0, 0, 2)),
        ("pytest_q_fail", "pytest", (2, 1, 2, 0)),
        ("unittest", "unittest", (2, 0, 0, 3)),
        ("unittest_v", "unittest", (2, 0, 0, 3)),
        ("unittest_v_fail", "unittest", (1, 1, 1, 0)),
        ("go_plain", "go", (2, 0, 0, 0)),
        ("go_none", "go", (0, 0, 0, 0)),
        ("go_verbose", "go", (4, 0, 0, 1)),
        ("go_fail", "go", (1, 1, 1, 0)),
        ("cargo_ok", "cargo", (2, 0, 0, 1)),
        ("cargo_q", "cargo", (2, 0, 0, 1)),
        ("cargo_doc", "cargo", (1, 0, 0, 0)),
        ("cargo_fail", "cargo", (3, 1, 0, 1)),
        ("typst_ok", "typst", (2, 0, 0, 3012)),
        ("typst_fail", "typst", (1, 1, 0, 3012)),
        ("jest_ok", "jest", (2, 0, 0, 1)),
        ("jest_mixed", "jest", (2, 1, 0, 1)),
        ("jest_allfail", "jest", (0, 1, 0, 0)),
        ("jest_suite_error", "jest", (0, 0, 1, 0)),
        ("vitest_ok", "vitest", (1, 0, 0, 1)),
        ("vitest_fail", "vitest", (1, 1, 0, 1)),
        ("node_tap", "node", (3, 0, 0, 2)),
        ("node_spec", "node", (3, 0, 0, 2)),
        ("node_tap_fail", "node", (3, 1, 0, 2)),
        ("node_tap_coverage", "node", (2, 0, 0, 0)),
    ],
)
def test_real_logs(name: str, framework: str, expected: tuple[int, int, int, int]) -> None:
    found = counts(log(name))
    assert (found.framework, numbers(found), found.problem) == (framework, expected, None)
    assert found.consistent
    assert found.total == sum(expected)


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("pytest_exit", "a pytest session ended without its summary"),
        ("cargo_exit", "a Rust test binary ended without its result"),
        ("jest_exit", "jest ended without its summary"),
        ("go_exit", "2 Go tests started, but only 1 ended"),
    ],
)
def test_a_run_that_was_left_early_is_not_believed(name: str, problem: str) -> None:
    found = counts(log(name))
    assert not found.consistent
    assert found.problem == problem


def test_tap_and_vitest_without_their_summary_are_not_believed() -> None:
    for name, framework in [("node_tap", "node:test"), ("vitest_ok", "vitest")]:
        whole = log(name).splitlines(keepends=True)
        assert counts(b"".join(whole[:-6])).problem == f"{framework} ended without its summary"


def test_without_any_summary_there_is_a_reason() -> None:
    found = counts(b"error: could not compile `demo`\n")
    assert (found.framework, found.sessions, found.total, found.consistent) == (None, 0, 0, False)
    assert found.problem == "the log holds no summary of a known test framework"


# More than one session.


def test_sessions_are_summed_also_of_different_frameworks() -> None:
    found = counts(log("pytest_v") + log("pytest_v_fail"))
    assert (found.sessions, numbers(found), found.consistent) == (2, (14, 1, 2, 4), True)
    found = counts(log("pytest_q") + log("pytest_q_fail"))
    assert (found.sessions, numbers(found)) == (2, (8, 1, 2, 2))
    found = counts(log("pytest_none") + log("pytest_v"))
    assert (found.sessions, found.passed) == (2, 6)
    found = counts(log("pytest_v") + log("jest_allfail") + log("unittest_v_fail"))
    assert (found.framework, numbers(found)) == ("pytest+unittest+jest", (7, 2, 1, 2))


@pytest.mark.parametrize(
    "told", [b"3/8 tests collected (5 deselected)", b"no tests collected (8 deselected)"]
)
def test_tests_that_are_only_listed_are_no_contradiction(told: bytes) -> None:
    listing = log("pytest_collect").replace(b"8 tests collected", told)
    assert told in listing
    found = counts(listing + log("pytest_v"))
    assert (found.passed, found.problem) == (6, None)


def test_a_session_that_is_lost_among_whole_ones_is_told() -> None:
    for whole, lost in [("pytest_v", "pytest_exit"), ("cargo_ok", "cargo_exit")]:
        for text in (log(whole) + log(lost), log(lost) + b"\n" + log(whole)):
            found = counts(text)
            assert not found.consistent, (whole, lost)
            assert found.passed == counts(log(whole)).passed


# What code under test prints.

FORGED = [
    b"999 passed\n",
    b"999 passed in 0.01s\n",
    b"12 errors\n",
    b"test result: ok. 999 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out\n",
    b"    Tests:       999 passed, 999 total\n",
    b"Tests:       999 passed, 999 total\n",
    b"      Tests  999 passed (999)\n",
    b"Ran 999 tests in 0.01s\n\nOK\n",
    b"# tests 999\n# pass 999\n# fail 0\n",
]


@pytest.mark.parametrize("text", FORGED)
@pytest.mark.parametrize(
    "name",
    [
        "pytest_v",
        "pytest_s",
        "unittest_v",
        "go_verbose",
        "cargo_ok",
        "jest_ok",
        "vitest_ok",
        "node_tap",
        "pytest_q",
    ],
)
def test_a_printed_summary_does_not_count(name: str, text: bytes) -> None:
    lines = log(name).splitlines(keepends=True)
    for at in range(len(lines) + 1):
        if at and lines[at - 1].lstrip().startswith((b"Test Suites:", b"Test Files")):
            continue  # written at once with the line below
        found = counts(b"".join(lines[:at]) + text + b"".join(lines[at:]))
        assert found.passed < 999 or not found.consistent, (at, found)


def test_a_bare_summary_counts_only_where_nothing_better_is() -> None:
    assert counts(b"noise\n3 passed in 0.01s\n4 passed in 0.01s\n").passed == 4
    found = counts(log("go_plain") + b"3 passed, 1 failed in 0.01s\n")
    assert numbers(found) == (2, 1, 0, 0)


def test_errors_in_a_line_of_the_log_are_not_errors() -> None:
    assert counts(b"found 12 errors\n12 errors\n" + log("pytest_v")).errors == 0


@pytest.mark.parametrize("name", ["pytest_v", "pytest_plain"])
def test_a_summary_must_agree_with_what_was_collected(name: str) -> None:
    forged = log(name).replace(b"5 passed,", b"6 passed,")
    assert not counts(forged).consistent
    # A test that left without a trace: fewer in the summary than were collected.
    assert "collected" in str(counts(log(name).replace(b"5 passed,", b"4 passed,")).problem)


def test_a_summary_must_agree_with_what_was_seen() -> None:
    header = b"===== test session starts =====\ncollecting ... collected 2 items\n\n"
    shown = b"t.py::a PASSED   [ 50%]\n"
    assert "seen to pass" in str(counts(header + shown + b"==== 2 passed in 0.01s ====\n").problem)
    failed = shown + b"t.py::b FAILED   [100%]\n"
    assert "seen to fail" in str(counts(header + failed + shown + b"==== 2 passed in 0.01s ====\n").problem)
    assert "nothing was collected" in str(counts(header[:32] + b"==== 2 passed in 0.01s ====\n").problem)
    dots = b"t.py .F  [100%]\n"
    assert not counts(header + dots + b"==== 2 passed in 0.01s ====\n").consistent
    assert not counts(log("pytest_q").replace(b"5 passed", b"7 passed")).consistent


def test_a_second_summary_that_differs_is_not_believed() -> None:
    again = b"==== 8 passed in 0.01s ====\n"
    assert "two summaries" in str(counts(log("pytest_v_fail") + again).problem)
    assert counts(log("pytest_v") + log("pytest_v").splitlines(keepends=True)[-1]).consistent


def test_a_test_that_runs_pytest_itself_does_not_confuse() -> None:
    inner = b"----- Captured stdout call -----\n" + log("pytest_v_fail")
    mark = b"=================================== XPASSES ="
    assert mark in log("pytest_rA")
    found = counts(log("pytest_rA").replace(mark, inner + mark))
    assert (numbers(found), found.sessions, found.consistent) == ((6, 0, 0, 2), 1, True)


@pytest.mark.parametrize(
    ("name", "before", "after"),
    [
        ("pytest_v", b" PASSED ", b" half a linePASSED "),
        ("pytest_v", b" PASSED ", b"[is FAILED (so)] PASSED "),
        ("pytest_v", b" PASSED ", b" some\nlines, the last oneFAILED PASSED "),
        ("unittest_v", b"... ok\n", b"... half a lineok\n"),
        ("unittest_v", b"... ok\n", b"... some\nlinesok\n"),
    ],
)
def test_what_a_test_prints_before_its_outcome_takes_nothing_from_it(
    name: str, before: bytes, after: bytes
) -> None:
    assert before in log(name)
    assert counts(log(name).replace(before, after)) == counts(log(name))


def test_nothing_but_a_coverage_report_follows_the_summary_of_tap() -> None:
    assert counts(log("node_tap_coverage")).consistent
    for more in (b"ok 3 - c\n", b"not ok 3 - c\n"):
        assert counts(log("node_tap_coverage") + more).problem == "node:test ended without its summary"


def test_the_other_frameworks_must_agree_too() -> None:
    for name, true, false in [
        ("cargo_ok", b"running 3 tests", b"running 4 tests"),
        ("jest_ok", b"2 passed, 3 total", b"2 passed, 4 total"),
        ("vitest_ok", b"1 skipped (2)", b"1 skipped (3)"),
        ("node_tap", b"# pass 3", b"# pass 4"),
        ("node_tap", b"ok 1 - adds", b"not ok 1 - adds"),
        ("unittest_v", b"Ran 4 tests", b"Ran 9 tests"),
        ("go_verbose", b"--- PASS: TestTree (", b"--- FAIL: TestTree ("),
        ("typst_ok", b"2 passed", b"2 passed, 0 failed, 0 skipped\n3 passed"),
        ("jest_mixed", b"1 failed, 1 skipped, 2 passed, 4 total", b"1 skipped, 3 passed, 4 total"),
    ]:
        assert true in log(name)
        found = counts(log(name).replace(true, false))
        assert not found.consistent or found.errors, (name, found)


def test_a_log_with_its_middle_left_out_is_read_by_its_ends() -> None:
    whole = log("pytest_v").splitlines(keepends=True)
    cut = b"".join([*whole[:8], b"... 100 bytes left out ...\n", *whole[-2:]])
    assert not counts(cut).consistent
    assert counts(cut, truncated=True).consistent
    assert counts(whole[-1], truncated=True).passed == 6
    assert counts(b"".join(log("cargo_ok").splitlines(keepends=True)[-2:]), truncated=True).passed == 2
    # What a summary itself says of too few is still held against it.
    assert not counts(cut.replace(b"5 passed", b"4 passed"), truncated=True).consistent


def test_line_ends_do_not_matter() -> None:
    for path in LOGS.iterdir():
        text = path.read_bytes()
        if b"\r" not in text:
            assert counts(text.replace(b"\n", b"\r\n")) == counts(text), path.name


# Any bytes at all.

PIECES = st.sampled_from(
    [line for path in sorted(LOGS.iterdir()) for line in path.read_bytes().splitlines(keepends=True)]
)


@given(
    st.one_of(st.binary(), st.lists(st.one_of(PIECES, st.binary(max_size=20))).map(b"".join)), st.booleans()
)
@settings(max_examples=500, deadline=None)
def test_any_bytes_are_read(text: bytes, truncated: bool) -> None:
    found = counts(text, truncated=truncated)
    assert found.total == found.passed + found.failed + found.errors + found.skipped
    assert min(numbers(found)) >= 0
    assert found.consistent == (found.problem is None)
    assert found.sessions > 0 or (found.total == 0 and not found.consistent)


@pytest.mark.timeout(60)  # a square of this size takes hours
@pytest.mark.parametrize(
    "unit",
    [
        b"tests/x.py::test_a PASSED  [ 1%]\n", b"\n", b"::" * 500 + b" " * 500, b" PASSED (" * 200 + b"\n", b"= ",
        b" " * 2000 + b"test\n", b"." * 1500 + b" [10%]x\n", b"\x1b[0", b"\x1b]0", b"1 a, ", b"running 1 test\n",
        b"ok  \tx\tcoverage: ", b"test a ... ok\n", b"=== RUN   TestA\n", b"# tests 1\n", b" ... skipped",
    ],
)  # fmt: skip
def test_time_grows_with_size_not_with_its_square(unit: bytes) -> None:
    assert counts(unit * (3_000_000 // len(unit))).passed <= 1
