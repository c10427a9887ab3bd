"""Sums that add up, and tables that print whatever they are given without obeying it."""

from __future__ import annotations

import io
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cooperbench.report import tables
from cooperbench.report.console import console
from cooperbench.report.health import health
from cooperbench.report.rows import Counts, TrialRow, count, explain, number, whole
from cooperbench.report.tables import closing, runs_table, show
from tests.unit.report.rows import HOSTILE, json_values, objects, rows
from tests.unit.report.test_escape import obeyed

SUMS = re.compile(r"(\d+) passed \+ (\d+) failed \+ (\d+) errors \+ (\d+) pending = (\d+) trials")


def printed(*parts) -> str:
    stream = io.StringIO()
    show(console(stream, plain=True), *parts)
    return stream.getvalue()


@given(st.lists(rows, max_size=12))
def test_the_four_outcomes_are_all_there_is(many: list[TrialRow]) -> None:
    counts = count(many)
    assert counts.passed + counts.failed + counts.errors + counts.pending == counts.total == len(many)
    assert counts.judged == counts.passed + counts.failed
    assert counts.pass_rate is None or 0 <= counts.pass_rate <= 1


@given(st.lists(rows, max_size=8))
def test_the_report_adds_up_and_steers_no_terminal(many: list[TrialRow]) -> None:
    text = printed(closing(HOSTILE, many, 1.5))
    passed, failed, errors, pending, total = map(int, SUMS.search(text).groups())
    assert passed + failed + errors + pending == total == len(many)
    assert not [c for c in obeyed(text) if c in "\x1b\r\u202e"]


def test_task_rows_add_up_to_the_whole() -> None:
    many = [
        TrialRow("a_task", 1, (1, 2), "coop", "passed"),
        TrialRow("a_task", 1, (1, 3), "coop", "failed"),
        TrialRow("b_task", 0, (1, 2), "coop", "error"),
        TrialRow("b_task", 0, (1, 3), "coop", "pending"),
        TrialRow("b_task", 0, (2, 3), "coop", "passed"),
    ]
    text = printed(tables.tasks(many))
    assert re.search(r"a_task/1 +2 +1 +1 +0 +0 +0 +50\.0 %", text)
    assert re.search(r"b_task/0 +3 +1 +0 +1 +1 +0 +100\.0 %", text)
    assert "1 passed" not in printed(closing("r", many[:1])).split("task", 1)[0]


def test_a_narrow_terminal_does_not_cut_words_to_letters() -> None:
    stream = io.StringIO()
    narrow = console(stream, plain=True)
    narrow.width = 40
    show(
        narrow,
        closing(
            "r", [TrialRow("a_task", 1, (1, 2), "coop", "failed", merge="conflicts", reason="no word " * 9)]
        ),
    )
    assert re.search(r"a_task/1/1,2 +FAILED +conflicts +no word", stream.getvalue())


def test_a_pass_rate_of_nothing_is_no_number() -> None:
    assert Counts(errors=3).pass_rate is None
    assert "pass rate - of the 0 judged" in printed(closing("r", []))


def test_many_trials_are_shown_by_task_only() -> None:
    many = [
        TrialRow(f"r{i % 2}_task", 1, (1, i + 2), "coop", "passed") for i in range(tables.EVERY_TRIAL + 1)
    ]
    text = printed(closing("r", many))
    assert "r0_task/1/1" not in text
    assert "r0_task/1 " in text


@pytest.mark.parametrize(
    ("row", "told"),
    [
        (TrialRow("r", 1, (1, 2), "coop", "failed", "conflicts", ("a.py",)), "conflict in a.py"),
        (
            TrialRow("r", 1, (1, 2), "coop", "failed", "missing_input", (), ("agent1",)),
            "patch of agent1 did not",
        ),
        (TrialRow("r", 1, (1, 2), "coop", "failed", "clean", reason="2 tests failed"), "2 tests failed"),
        (TrialRow("r", 1, (1, 2), "coop", "error", error="backend down"), "backend down"),
        (TrialRow("r", 1, (1, 2), "coop", "passed", "clean", integrity=1), "1 integrity finding"),
        (TrialRow("r", 1, (1, 2), "coop", "passed", "clean"), ""),
    ],
)
def test_a_row_says_why(row: TrialRow, told: str) -> None:
    assert tables.remark(row).startswith(told)
    assert bool(tables.remark(row)) == bool(told)


def test_no_runs_is_said() -> None:
    assert "no runs in logs" in printed(runs_table(Path("logs"), []))


@given(objects(["setting", "agent_framework", "backend"]))
def test_a_runs_config_can_be_anything(config: dict) -> None:
    assert "name" in printed(runs_table(Path("logs"), [("name", config, Counts(passed=1))]))


@given(objects(["merge", "apply_status", "reason", "passed"]) | json_values)
def test_a_verdict_can_be_anything(verdict) -> None:
    explain(verdict)


@given(json_values)
def test_numbers_are_believed_only_when_they_are(value) -> None:
    assert number(value) is None or number(value) >= 0
    assert whole(value) is None or whole(value) >= 0
    assert number(10**400) is None


@given(objects(["summary", "per_task", "all_results", "features", "healthy"]))
def test_a_validation_can_be_anything(found: dict) -> None:
    printed(*health(found))
