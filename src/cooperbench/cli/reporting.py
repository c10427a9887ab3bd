"""Reading a run back from its directory, and printing the report on it: what `run`, `eval` and `show` share."""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cooperbench.cli import exits
from cooperbench.report.rows import TrialRow, count, mapping, read_row, whole
from cooperbench.runs import RunDirectory


@dataclass(frozen=True, slots=True)
class RunRows:
    """A run as the report needs it."""

    name: str
    path: Path
    config: dict[str, Any]
    rows: tuple[TrialRow, ...]
    missing: int
    """Trials of the run's selection that have not been started."""


def read_run(logs_dir: Path, name: str) -> RunRows:
    """Every trial of a run, finished or not.

    Raises:
        UsageError: there is no such run; the message names some that exist.
    """
    run = existing(logs_dir, name)
    rows = tuple(
        read_row(
            trial.pair.repo,
            trial.pair.task_id,
            trial.pair.features,
            trial.setting,
            trial.read_result(),
            trial.read_verdict(),
        )
        for trial in run.trials()
    )
    config = dict(mapping(run.read_config()))
    expected = whole(config.get("total_tasks")) or 0
    return RunRows(name, run.path, config, tuple(sorted(rows, key=_order)), max(0, expected - len(rows)))


def _order(row: TrialRow) -> tuple[Any, ...]:
    return row.setting, row.repo, row.task_id, row.features


def existing(logs_dir: Path, name: str) -> RunDirectory:
    """The directory of a run.

    Raises:
        UsageError: there is no such run.
    """
    from cooperbench.errors import UsageError
    from cooperbench.settings import did_you_mean

    if name in ("", ".", "..") or "/" in name or "\0" in name:
        raise UsageError(f"{name!r} cannot be a run's name")
    if (logs_dir / name).is_dir():
        return RunDirectory(logs_dir, name)
    known = run_names(logs_dir)
    hint = did_you_mean(name, known[:20]) if known else "; there are no runs yet"
    raise UsageError(f"no run {name!r} in {logs_dir}{hint}")


def run_names(logs_dir: Path) -> list[str]:
    """The runs there are, by name."""
    try:
        return sorted(
            path.name for path in logs_dir.iterdir() if path.is_dir() and not path.name.startswith(".")
        )
    except OSError:
        return []


def report(args: argparse.Namespace, logs_dir: Path, name: str, seconds: float | None = None) -> int:
    """Print the report on a whole run; returns the exit code it deserves.

    Args:
        seconds: wall time of this invocation.
    """
    run = read_run(logs_dir, name)
    counts = count(run.rows, run.missing)
    if args.json:
        from cooperbench.report.export import as_json, counts_as_json

        value = {"run": name, "directory": str(run.path), "wall_seconds": seconds, **counts_as_json(counts)}
        print(json.dumps({**value, "trials": as_json(run.rows)}, indent=2))
    else:
        from cooperbench.report.console import console
        from cooperbench.report.tables import closing, show

        show(console(sys.stdout, plain=args.plain), closing(f"run {name}", run.rows, run.missing, seconds))
    return exits.INCOMPLETE if counts.errors or counts.pending else exits.DONE
