"""What a validation found: which gold patches conflict, which features cannot be graded."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from rich.console import RenderableType
from rich.text import Text

from cooperbench.report.escape import line
from cooperbench.report.pace import duration
from cooperbench.report.rows import listing, mapping, number, text
from cooperbench.report.tables import grid

SHOWN = 40


def health(found: Any) -> Iterator[RenderableType]:
    """A dataset's health, part by part.

    Args:
        found: what `cooperbench.validate` returns.
    """
    found = mapping(found)
    summary = mapping(found.get("summary"))
    yield grid(
        ("task", "pairs", "conflicts", "clean", "errors"),
        (
            (name, *(mapping(row).get(key, "-") for key in ("total", "conflicts", "clean", "errors")))
            for name, row in mapping(found.get("per_task")).items()
        ),
        right=range(1, 5),
    )
    yield Text(
        f"\n{summary.get('conflicts')} conflict + {summary.get('clean_merges')} clean + {summary.get('errors')} errors"
        f" = {summary.get('total_pairs')} pairs of gold patches ({line(summary.get('conflict_rate', '-'))} conflict)"
        f" · {duration(number(summary.get('elapsed_seconds')))}"
    )
    yield from _errors([mapping(row) for row in listing(found.get("all_results"))])
    yield from _features([mapping(row) for row in listing(found.get("features"))])


def _errors(rows: list[Any]) -> Iterator[RenderableType]:
    broken = [row for row in rows if row.get("error")]
    for row in broken[:SHOWN]:
        place = f"{row.get('repo')}/{row.get('task_id')}/{row.get('f1')},{row.get('f2')}"
        yield Text(line(f"  {place}: {row['error']}"), style="yellow")
    if len(broken) > SHOWN:
        yield Text(f"  … {len(broken) - SHOWN} more in the report file")


def _features(rows: list[Any]) -> Iterator[RenderableType]:
    if not rows:
        return
    broken = [row for row in rows if row.get("healthy") is not True]
    yield Text(
        f"{len(rows) - len(broken)} of {len(rows)} features as they should be: "
        "the gold patch passes their tests, an empty patch fails them",
        style="bold",
    )
    for row in broken[:SHOWN]:
        place = f"{row.get('repo')}/{row.get('task_id')} feature {row.get('feature')}"
        yield Text(line(f"  {place}: {text(row.get('reason')) or 'no reason given'}"), style="yellow")
    if len(broken) > SHOWN:
        yield Text(f"  … {len(broken) - SHOWN} more in the report file")
