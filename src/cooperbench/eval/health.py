"""What a validation has found: its journal, and the report in the published report's shape."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

from cooperbench.dataset.model import Dataset, Pair, Task


@dataclass(frozen=True, slots=True)
class Unit:
    """One thing to find out, in one sandbox."""

    kind: str
    """`merges`, `gold` or `empty`."""
    task: Task
    feature: int
    """0 for `merges`."""
    inputs: str
    """sha256 over everything the answer rests on."""

    @property
    def key(self) -> str:
        return f"{self.kind} {self.task.name} {self.feature} {self.inputs}"


class Journal:
    """Finished units, one JSON line each; a line cut short by a dying process is as if it were not there."""

    def __init__(self, path: Path, *, fresh: bool) -> None:
        self._path = path
        self._known: dict[str, dict[str, Any]] = {}
        self.errors: dict[str, str] = {}
        if fresh:
            path.unlink(missing_ok=True)
        content = path.read_bytes() if path.exists() else b""
        for line in content.splitlines():
            try:
                entry = json.loads(line)
                self._known[entry["key"]] = entry["result"]
            except (ValueError, KeyError, TypeError, RecursionError):
                continue
        if content and not content.endswith(b"\n"):
            with path.open("ab") as file:
                file.write(b"\n")

    def get(self, unit: Unit) -> dict[str, Any] | None:
        return self._known.get(unit.key)

    def put(self, unit: Unit, result: dict[str, Any]) -> None:
        self._known[unit.key] = result
        with self._path.open("ab") as file:
            file.write(json.dumps({"key": unit.key, "result": result}).encode() + b"\n")

    def note_error(self, unit: Unit, error: str) -> None:
        """Infrastructure trouble is told, never kept: the next validation tries again."""
        self.errors[unit.key] = error


def report(
    dataset: Dataset, pairs: Sequence[Pair], units: Sequence[Unit], journal: Journal, seconds: float
) -> dict[str, Any]:
    wanted = {(p.repo, p.task_id, a, b) for p in pairs for a, b in combinations(p.features, 2)}
    rows = [
        row
        for unit in units
        if unit.kind == "merges"
        for row in pair_rows(unit, journal)
        if (row["repo"], row["task_id"], row["f1"], row["f2"]) in wanted
    ]
    features = _feature_rows(units, journal)
    summary = {**_counts(rows), "elapsed_seconds": round(seconds, 1)}
    broken = [f for f in features if not f["healthy"]]
    return {
        "dataset": str(dataset.root),
        "healthy": not broken and not summary["errors"],
        "summary": summary,
        "per_task": _per_task(rows),
        "conflict_pairs": [
            {k: row[k] for k in ("repo", "task_id", "f1", "f2", "files")}
            for row in rows
            if row["has_conflict"]
        ],
        "all_results": rows,
        "features": features,
    }


def pair_rows(unit: Unit, journal: Journal) -> Iterator[dict[str, Any]]:
    task = unit.task
    found = journal.get(unit)
    if found is None:
        for first, second in combinations(task.features, 2):
            yield _pair_row(task, first, second, None, [], (), journal.errors.get(unit.key, "not done"))
        return
    for first, second, status, files in found["pairs"]:
        yield _pair_row(task, first, second, status, files, found["not_applied"], None)


def _pair_row(
    task: Task,
    first: int,
    second: int,
    status: str | None,
    files: list[str],
    not_applied: Sequence[int],
    error: str | None,
) -> dict[str, Any]:
    broken = [n for n in (first, second) if n in not_applied]
    if broken:
        error = f"gold patch of feature {', '.join(map(str, broken))} does not apply"
    return {
        "repo": task.repo,
        "task_id": task.task_id,
        "f1": first,
        "f2": second,
        "has_conflict": status == "conflicts",
        "patch1_apply_failed": first in not_applied,
        "patch2_apply_failed": second in not_applied,
        "files": files,
        "error": error,
    }


def _counts(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    errors = sum(row["error"] is not None for row in rows)
    conflicts = sum(row["has_conflict"] for row in rows)
    rate = f"{100 * conflicts / len(rows):.1f}%" if rows else "0.0%"
    return {
        "total_pairs": len(rows),
        "conflicts": conflicts,
        "clean_merges": len(rows) - conflicts - errors,
        "errors": errors,
        "conflict_rate": rate,
    }


def _per_task(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    by_task: dict[str, list[Mapping[str, Any]]] = {}
    for row in rows:
        by_task.setdefault(f"{row['repo']}/task{row['task_id']}", []).append(row)
    return {
        name: {
            "total": len(own),
            "conflicts": (count := _counts(own))["conflicts"],
            "clean": count["clean_merges"],
            "errors": count["errors"],
        }
        for name, own in by_task.items()
    }


def _feature_rows(units: Sequence[Unit], journal: Journal) -> list[dict[str, Any]]:
    rows: dict[tuple[str, int, int], dict[str, Any]] = {}
    for unit in units:
        if unit.kind == "merges":
            continue
        row = rows.setdefault(
            (unit.task.repo, unit.task.task_id, unit.feature),
            {
                "repo": unit.task.repo,
                "task_id": unit.task.task_id,
                "feature": unit.feature,
                "gold_passes": None,
                "empty_fails": None,
                "reason": "",
                "seconds": None,
                "healthy": True,
            },
        )
        _fill(row, unit, journal)
    return list(rows.values())


def _fill(row: dict[str, Any], unit: Unit, journal: Journal) -> None:
    found = journal.get(unit)
    if found is None:
        reason, good = journal.errors.get(unit.key, "not done"), None
    else:
        reason, good = found["reason"], found["good"]
    row["gold_passes" if unit.kind == "gold" else "empty_fails"] = good
    row["healthy"] = row["healthy"] and good is True
    if unit.kind == "gold" and found is not None:
        row["seconds"] = found["seconds"]
    if reason:
        row["reason"] = "; ".join(filter(None, (row["reason"], f"{unit.kind}: {reason}")))
