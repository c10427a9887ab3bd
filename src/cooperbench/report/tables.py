"""The closing report of a run, and the lists of runs, tasks and the like: tables for people."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from rich import box
from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from cooperbench.report.escape import line
from cooperbench.report.pace import dollars, duration
from cooperbench.report.rows import Counts, TrialRow, count, text

EVERY_TRIAL = 60
"""Up to so many trials the report has a row for each; beyond, only for tasks."""

NARROWEST = 80
"""Columns below which cells would be one letter wide."""

STYLES = {"passed": "green", "failed": "red", "error": "yellow", "pending": "dim"}


def grid(headings: Sequence[str], rows: Iterable[Sequence[Any]], right: Iterable[int] = ()) -> Table:
    """A table of plain texts; whatever the cells hold is printed as it is, escaped.

    Args:
        right: indices of the columns that are aligned to the right.
    """
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, header_style="bold")
    for index, heading in enumerate(headings):
        table.add_column(
            Text(heading),
            justify="right" if index in set(right) else "left",
            overflow="fold",
            no_wrap=index == 0,  # names come first, and are looked for
        )
    for row in rows:
        table.add_row(*(cell if isinstance(cell, Text) else Text(line(cell)) for cell in row))
    return table


def closing(title: str, rows: Sequence[TrialRow], seconds: float | None = None, hint: str = "") -> Group:
    """The report at a run's end: trials or tasks, then the sums.

    Args:
        seconds: wall time, when known.
        hint: what to do next.
    """
    counts = count(rows)
    parts: list[RenderableType] = []
    if rows and len(rows) <= EVERY_TRIAL:
        parts += [trials(rows), Text()]
    if len({row.task for row in rows}) > 1:
        parts += [tasks(rows), Text()]
    parts += [Text(line(title), style="bold"), *sums(counts, seconds)]
    parts += [Text(line(hint), style="dim")] if hint else []
    return Group(*parts)


def trials(rows: Sequence[TrialRow]) -> Table:
    """A row for each trial."""
    return grid(
        ("trial", "verdict", "merge", "what happened", "msgs", "time"),
        (
            (
                row.name,
                Text("FAILED" if row.outcome == "failed" else row.outcome, style=STYLES[row.outcome]),
                row.merge or "-",
                remark(row),
                "-" if row.messages is None else row.messages,
                duration(row.seconds),
            )
            for row in rows
        ),
        right=(4, 5),
    )


def remark(row: TrialRow) -> str:
    """Why a trial came out as it did, in a few words; empty when there is nothing to add."""
    told = []
    if row.error and row.outcome in ("error", "pending"):
        told.append(row.error[:200])
    if row.conflicts:
        told.append(f"conflict in {', '.join(row.conflicts)}"[:200])
    if row.unapplied:
        told.append(f"patch of {', '.join(row.unapplied)} did not apply"[:200])
    if row.outcome == "failed" and not row.conflicts and not row.unapplied:
        told.append((row.reason or "tests failed")[:200])
    if row.integrity:
        told.append(f"{row.integrity} integrity {'finding' if row.integrity == 1 else 'findings'}")
    return "; ".join(told)


def tasks(rows: Sequence[TrialRow]) -> Table:
    """A row for each task, the denominators of which add up."""
    by_task: dict[str, list[TrialRow]] = {}
    for row in rows:
        by_task.setdefault(row.task, []).append(row)
    return grid(
        ("task", "trials", "passed", "failed", "errors", "pending", "conflicts", "pass rate"),
        ((task, *_figures(count(group))) for task, group in sorted(by_task.items())),
        right=range(1, 8),
    )


def _figures(counts: Counts) -> tuple[Any, ...]:
    return (
        counts.total,
        counts.passed,
        counts.failed,
        counts.errors,
        counts.pending,
        counts.conflicts,
        percent(counts.pass_rate),
    )


def runs_table(logs_dir: Path, runs: Sequence[tuple[str, Mapping[str, Any], Counts]]) -> RenderableType:
    """A row for each run.

    Args:
        runs: name, what ``config.json`` holds, how its trials add up.
    """
    if not runs:
        return Text(f"no runs in {line(logs_dir)}")
    return grid(
        (
            "run",
            "setting",
            "agent",
            "backend",
            "trials",
            "passed",
            "failed",
            "errors",
            "pending",
            "pass rate",
        ),
        (
            (
                name,
                text(config.get("setting")) or "-",
                text(config.get("agent_framework")) or "-",
                text(config.get("backend")) or "-",
                *_figures(counts)[:5],
                percent(counts.pass_rate),
            )
            for name, config, counts in runs
        ),
        right=range(4, 10),
    )


def sums(counts: Counts, seconds: float | None = None) -> list[Text]:
    """The sums in a few lines; the first adds up by construction."""
    lines = [
        Text(
            f"{counts.passed} passed + {counts.failed} failed + {counts.errors} errors"
            f" + {counts.pending} pending = {counts.total} trials"
        ),
        Text(f"pass rate {percent(counts.pass_rate)} of the {counts.judged} judged", style="bold"),
    ]
    details = [f"merge conflicts {counts.conflicts}", f"patches that did not apply {counts.unapplied}"]
    details.append(f"trials with integrity findings {counts.integrity}")
    lines.append(Text(" · ".join(details)))
    expense = [f"messages {counts.messages}"] if counts.messages else []
    expense += [f"cost {dollars(counts.cost)}"] if counts.cost is not None else []
    expense += [f"wall time {duration(seconds)}"] if seconds is not None else []
    return [*lines, Text(" · ".join(expense))] if expense else lines


def percent(share: float | None) -> str:
    """``41.7 %``; a dash when there is nothing to divide by."""
    return "-" if share is None else f"{100 * share:.1f} %"


def show(console: Console, *parts: RenderableType) -> None:
    """Print parts one below the other; a terminal narrower than a table can be made breaks the lines itself."""
    console.width = max(console.width, NARROWEST)
    for part in parts:
        console.print(part)
