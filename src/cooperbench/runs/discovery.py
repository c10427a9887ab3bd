"""`discover_runs`: which trials of a run can be judged, in the shape scripts know."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cooperbench.dataset.model import Pair
from cooperbench.errors import UsageError
from cooperbench.runs.directory import RunDirectory

DEFAULT_LOGS = Path("logs")


def discover_runs(
    run_name: str,
    subset: str | None = None,
    repo_filter: str | None = None,
    task_filter: int | None = None,
    features_filter: Sequence[int] | None = None,
    logs_dir: Path | str | None = None,
    dataset_dir: Path | str | None = None,
) -> list[dict[str, Any]]:
    """The trials of a run that have a result, as ``{repo, task_id, features, log_dir, setting}``.

    Raises:
        UsageError: there is no run of that name; the message lists those there are.
    """
    run = RunDirectory(logs_dir or DEFAULT_LOGS, run_name)
    if not run.path.is_dir():
        raise UsageError(f"no run {run_name!r} in {run.path.parent}; {known_runs(run.path.parent)}")
    pairs = _subset_pairs(subset, dataset_dir) if subset is not None else None
    wanted = tuple(sorted(features_filter)) if features_filter is not None else None
    return [
        {
            "repo": trial.pair.repo,
            "task_id": trial.pair.task_id,
            "features": list(trial.pair.features),
            "log_dir": str(trial.path),
            "setting": trial.setting,
        }
        for trial in run.trials()
        if (repo_filter is None or trial.pair.repo == repo_filter)
        and (task_filter is None or trial.pair.task_id == task_filter)
        and (wanted is None or trial.pair.features == wanted)
        and (pairs is None or trial.pair in pairs)
        and trial.read_result() is not None
    ]


def _subset_pairs(subset: str, dataset_dir: Path | str | None) -> frozenset[Pair]:
    from cooperbench.dataset import load_dataset, load_subset

    return frozenset(load_subset(subset, load_dataset(dataset_dir)).pairs)


def known_runs(logs: Path) -> str:
    """The end of a sentence about a run that does not exist."""
    try:
        names = sorted(entry.name for entry in logs.iterdir() if entry.is_dir() and entry.name[:1] != ".")
    except OSError:
        names = []
    return f"there is {', '.join(names[:20])}" if names else "there is none yet: cooperbench run"
