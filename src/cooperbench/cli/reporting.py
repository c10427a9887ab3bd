"""Reading a run back from its directory, and the report on it: what `run`, `eval` and `show` share."""

from __future__ import annotations

import argparse
import json
import logging
import shlex
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cooperbench.cli import exits
from cooperbench.cli.places import LOGS
from cooperbench.report.rows import Outcome, TrialRow, count, explain
from cooperbench.runs import RunDirectory, TrialDirectory
from cooperbench.runs.totals import expected, standing

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class RunRows:
    """A run as the report needs it."""

    name: str
    path: Path
    config: dict[str, Any]
    rows: tuple[TrialRow, ...]
    """Every trial the run holds or is to hold, ordered."""


_OUTCOMES: dict[str, Outcome] = {"pass": "passed", "fail": "failed", "error": "error", "pending": "pending"}


def read_run(logs_dir: Path, name: str, setting: str | None = None) -> RunRows:
    """Every trial of a run, finished or not; only those of one setting, if one is given.

    Raises:
        UsageError: there is no such run, or nothing of that setting in it; the message names what there is.
    """
    run = existing(logs_dir, name)
    config = run.read_config() or {}
    if run.damaged:
        _log.warning("%s is damaged: trials that have not run are not counted", run.path / "config.json")
    rows = [read_row(trial) for trial in run.trials()]
    present = {(row.setting, row.name) for row in rows}
    rows += [
        TrialRow(pair.repo, pair.task_id, pair.features, setting, "pending")
        for setting, pair in expected(config)
        if (setting, pair.name) not in present
    ]
    if setting is not None:
        rows = _of(setting, name, rows)
    return RunRows(name, run.path, config, tuple(sorted(rows, key=_order)))


def _of(setting: str, name: str, rows: Sequence[TrialRow]) -> list[TrialRow]:
    chosen = [row for row in rows if row.setting == setting]
    if not chosen:
        from cooperbench.errors import UsageError

        there = ", ".join(sorted({row.setting for row in rows})) or "none"
        raise UsageError(f"run {name} has no trials of setting {setting!r}; it has: {there}")
    return chosen


def read_row(trial: TrialDirectory) -> TrialRow:
    """One trial, in short."""
    found = standing(trial)
    why = explain(trial.read_verdict() if found.judged in ("pass", "fail") else None)
    return TrialRow(
        repo=trial.pair.repo,
        task_id=trial.pair.task_id,
        features=trial.pair.features,
        setting=trial.setting,
        outcome=_OUTCOMES[found.judged],
        merge=found.merge,
        conflicts=why.conflicts,
        unapplied=why.unapplied,
        integrity=found.integrity,
        messages=found.messages if trial.setting != "solo" else None,
        cost=found.cost,
        seconds=found.seconds or None,
        reason=why.reason,
        error=found.error,
    )


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


def _next(logs_dir: Path, run: RunRows) -> str:
    """The command that explains one trial; of several, one that did not pass."""
    if not run.rows:
        return ""
    row = next((row for row in run.rows if row.outcome != "passed"), run.rows[0])
    elsewhere = "" if logs_dir == LOGS else f" --log-dir {shlex.quote(str(logs_dir))}"
    return f"one trial in full: cooperbench show {run.name} {row.name}{elsewhere}"


def report(
    args: argparse.Namespace,
    logs_dir: Path,
    name: str,
    seconds: float | None = None,
    *,
    setting: str | None = None,
) -> int:
    """Print the report on a whole run; returns the exit code it deserves.

    Args:
        seconds: wall time of this invocation.
        setting: report on its trials of this setting only.
    """
    run = read_run(logs_dir, name, setting)
    counts = count(run.rows)
    if args.json:
        from cooperbench.report.export import as_json, counts_as_json

        value = {"run": name, "directory": str(run.path), "wall_seconds": seconds, **counts_as_json(counts)}
        print(json.dumps({**value, "trials": as_json(run.rows)}, indent=2))
    else:
        from cooperbench.report.console import console
        from cooperbench.report.tables import closing, show

        show(
            console(sys.stdout, plain=args.plain),
            closing(f"run {name}", run.rows, seconds, _next(logs_dir, run)),
        )
    return exits.INCOMPLETE if counts.errors or counts.pending else exits.DONE
