"""`evaluate`: judge the trials of a run that have no current verdict yet."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from cooperbench import settings
from cooperbench.dataset import load_dataset, load_subset
from cooperbench.dataset.model import Dataset
from cooperbench.errors import UsageError
from cooperbench.eval.backends.base import EvalBackend
from cooperbench.eval.judging import Judging, judge_trial
from cooperbench.eval.plan import Rules
from cooperbench.eval.sources import judgements_at_once, opened_backend, ready_images
from cooperbench.events import Judged, Progress, RunFinished, RunStarted
from cooperbench.pool import describe, pooled
from cooperbench.runs import (
    DEFAULT_LOGS,
    RunDirectory,
    TrialDirectory,
    eval_summary,
    finished,
    known_runs,
    summary,
)


def evaluate(
    run_name: str,
    subset: str | None = None,
    repo: str | None = None,
    task_id: int | None = None,
    features: Sequence[int] | None = None,
    concurrency: int | None = None,
    force: bool = False,
    backend: str | None = None,
    dataset_dir: Path | str | None = None,
    logs_dir: Path | str | None = None,
    *,
    timeout: float | None = None,
    merge_rule: str | None = None,
    integrity_rule: str | None = None,
    independent: bool | None = None,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Judge a run's finished trials, those with a current verdict excepted.

    Args:
        run_name: as given to `run`.
        subset, repo, task_id, features: judge only these trials; the summary covers the whole run all the same.
        concurrency: how many at once; None for the settings', then what suits the backend: a
            processor each on one machine, at most 10.
        force: judge anew whatever is there.
        backend, dataset_dir: None for the one the run was made with, then the settings'.
        timeout: seconds for each run of one feature's tests.
        merge_rule, integrity_rule: see `cooperbench.eval.plan.Rules`.
        independent: also each agent's patch by itself. Like the three before, None is as the run was made.

    Returns:
        The totals written to ``eval_summary.json``.

    Raises:
        UsageError: no such run, dataset, selection or backend. RunConflict: another process is at work on the run.
    """
    tell = progress or (lambda _: None)
    run = RunDirectory(logs_dir or settings.load().text("logs_dir") or DEFAULT_LOGS, run_name)
    if not run.path.is_dir():
        raise UsageError(f"no run {run_name!r} in {run.path.parent}; {known_runs(run.path.parent)}")
    config = run.read_config() or {}
    judging = _as_before(config, timeout, merge_rule, integrity_rule, independent)
    dataset = load_dataset(dataset_dir or recorded_dataset(config) or settings.load().text("dataset_dir"))
    with run.lock():
        trials = _selected(run, dataset, subset, repo, task_id, features)
        with opened_backend(backend, _text(config.get("backend"))) as chosen:
            workers = judgements_at_once(concurrency, chosen.backend)
            tell(
                RunStarted(run_name, len(trials), len(trials), chosen.name, chosen.reason, workers, run.path)
            )
            try:
                judge_all(chosen.backend, dataset, trials, judging, workers, force=force, tell=tell)
            finally:
                totals = eval_summary(run)
                run.write_eval_summary(totals)
                run.write_summary(summary(run))
    tell(RunFinished(totals))
    return totals


def recorded_dataset(config: Mapping[str, Any]) -> str | None:
    """The dataset a run was made with, if it is still there."""
    place = config.get("dataset")
    return place if isinstance(place, str) and Path(place).is_dir() else None


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) and value else None


def _as_before(
    config: Mapping[str, Any],
    timeout: float | None,
    merge_rule: str | None,
    integrity_rule: str | None,
    independent: bool | None,
) -> Judging:
    """As the run was judged so far, where nothing else is asked: one run is not to hold two kinds of verdict."""
    rules, limit = config.get("rules"), config.get("test_timeout")
    named = rules if isinstance(rules, dict) else {}
    return Judging(
        timeout=timeout or (float(limit) if isinstance(limit, int | float) and limit > 0 else 600),
        rules=Rules(
            merge_rule or str(named.get("merge", "git")),
            integrity_rule or str(named.get("integrity", "report")),
        ),
        independent=independent if independent is not None else config.get("independent") is True,
    )


def judge_all(
    backend: EvalBackend,
    dataset: Dataset,
    trials: Sequence[TrialDirectory],
    judging: Judging,
    concurrency: int,
    *,
    force: bool,
    tell: Progress,
) -> None:
    """Judge trials in the order of their images; each is stored, or its trouble noted, as it comes."""
    tasks = {key: dataset.task(*key) for key in sorted({(t.pair.repo, t.pair.task_id) for t in trials})}
    digests = ready_images(backend, tasks.values(), tell)
    ordered = sorted(trials, key=lambda t: (tasks[t.pair.repo, t.pair.task_id].image, t.pair, t.setting))

    def work(trial: TrialDirectory) -> Judged:
        task = tasks[trial.pair.repo, trial.pair.task_id]
        begun = time.monotonic()
        verdict, reused = judge_trial(
            backend, task, trial, judging, force=force, image_digest=digests.get(task.image)
        )
        return judged_event(trial, verdict, time.monotonic() - begun, reused=reused)

    for trial, result in pooled(ordered, work, concurrency):
        tell(unjudged_event(trial, result) if isinstance(result, Exception) else result)


def judged_event(
    trial: TrialDirectory, verdict: Mapping[str, Any], seconds: float, *, reused: bool
) -> Judged:
    """A verdict, as the progress line wants it."""
    merge = verdict.get("merge") or {}
    return Judged(
        pair=trial.pair,
        setting=trial.setting,
        passed=bool(verdict["passed"]),
        merge=merge.get("status"),
        integrity=len(verdict.get("integrity") or ()),
        seconds=0.0 if reused else seconds,
        error=None,
        conflicts=tuple(merge.get("files") or ()),
    )


def unjudged_event(trial: TrialDirectory, error: Exception) -> Judged:
    """Infrastructure trouble, noted beside the trial and told; it is no verdict and the next `evaluate` tries again."""
    text = describe(error)
    trial.write_judge_error(text)
    return Judged(trial.pair, trial.setting, None, None, 0, 0.0, text, ())


def _selected(
    run: RunDirectory,
    dataset: Dataset,
    subset: str | None,
    repo: str | None,
    task_id: int | None,
    features: Sequence[int] | None,
) -> list[TrialDirectory]:
    pairs = frozenset(load_subset(subset, dataset).pairs) if subset is not None else None
    wanted = tuple(sorted(features)) if features is not None else None
    found = [
        trial
        for trial in run.trials()
        if (repo is None or trial.pair.repo == repo)
        and (task_id is None or trial.pair.task_id == task_id)
        and (wanted is None or trial.pair.features == wanted)
        and (pairs is None or trial.pair in pairs)
        and finished(trial.read_result())
    ]
    if not found:
        raise UsageError(
            f"run {run.name!r} has no finished trial that fits the selection; see: cooperbench show {run.name}"
        )
    return found
