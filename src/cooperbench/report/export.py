"""A run's trials for other programs: CSV, and JSON values ready to be dumped."""

from __future__ import annotations

import csv
from collections.abc import Iterable
from typing import IO, Any

from cooperbench.report.escape import line
from cooperbench.report.rows import Counts, TrialRow

COLUMNS = (
    "repo",
    "task_id",
    "features",
    "setting",
    "outcome",
    "merge",
    "conflicts",
    "unapplied",
    "integrity",
    "messages",
    "cost",
    "seconds",
    "reason",
    "error",
)

_FORMULA = ("=", "+", "-", "@")


def write_csv(rows: Iterable[TrialRow], stream: IO[str]) -> None:
    """One line for each trial, with a heading; lists are joined by blanks."""
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(COLUMNS)
    for row in rows:
        writer.writerow([_cell(getattr(row, column)) for column in COLUMNS])


def _cell(value: Any) -> str:
    if value is None:
        return ""
    text = line(" ".join(map(str, value)) if isinstance(value, tuple) else value)
    # A spreadsheet would run a cell that begins like a formula; an agent can name a file so.
    return f"'{text}" if text.startswith(_FORMULA) else text


def as_json(rows: Iterable[TrialRow]) -> list[dict[str, Any]]:
    """Each trial as an object with the columns of the CSV; lists stay lists."""
    return [{column: getattr(row, column) for column in COLUMNS} for row in rows]


def counts_as_json(counts: Counts) -> dict[str, Any]:
    """The sums; passed + failed + errors + pending = total."""
    return {
        "total": counts.total,
        "passed": counts.passed,
        "failed": counts.failed,
        "errors": counts.errors,
        "pending": counts.pending,
        "pass_rate": counts.pass_rate,
        "conflicts": counts.conflicts,
        "unapplied": counts.unapplied,
        "integrity": counts.integrity,
        "messages": counts.messages,
        "cost": counts.cost,
    }
