"""`evaluate`: judge the trials of a run that have no current verdict yet."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from cooperbench import settings
from cooperbench.budget import Budget
from cooperbench.dataset import load_dataset, load_subset
from cooperbench.dataset.model import Dataset
from cooperbench.errors import UsageError
from cooperbench.eval.backends.base import offers
from cooperbench.eval.backends.batch import BatchBackend
from cooperbench.eval.batching import JUDGEMENTS_IN_A_BATCH, Batch
from cooperbench.eval.expense import Till
from cooperbench.eval.judging import Judging
from cooperbench.eval.onebyone import OneByOne
from cooperbench.eval.plan import Rules
from cooperbench.eval.sources import (
    MOST_JUDGEMENTS,
    hear,
    judgements_at_once,
    keep_images_within,
    one_at_a_time,
    opened_backend,
)
from cooperbench.eval.supply import Supply
from cooperbench.events import Note, Progress, RunFinished, RunStarted
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
    disk_budget: int | None = None,
    frozen: bool = False,
    max_cost: float | None = None,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Judge a run's finished trials, those with a current verdict excepted.

    Args:
        run_name: as given to `run`.
        subset, repo, task_id, features: judge only these trials; the summary covers the whole run all the same.
        concurrency: how many at once; None for the settings', then what suits the backend: a
            processor each on one machine, at most 10; 100 in a batch.
        force: judge anew whatever is there.
        backend, dataset_dir: None for the one the run was made with, then the settings'.
        timeout: seconds for each run of one feature's tests.
        merge_rule, integrity_rule: see `cooperbench.eval.plan.Rules`.
        independent: also each agent's patch by itself. Like the three before, None is as the run was made.
        disk_budget: bytes of images to keep, on a backend that keeps any; None as its settings say.
        frozen: judge with the images the run was made with only: one that has another digest now is an error.
        max_cost: US dollars that judging this run may cost, by estimate, earlier invocations included: then no new
            judgement starts, and a batch is ended; only where a backend says what it costs.

    Returns:
        The totals written to ``eval_summary.json``.

    Raises:
        UsageError: no such run, dataset, selection or backend. RunConflict: another process is at work on the run.
    """
    Budget(max_cost)  # refuses what is no amount
    tell = one_at_a_time(progress)
    run = RunDirectory(logs_dir or settings.load().text("logs_dir") or DEFAULT_LOGS, run_name)
    if not run.path.is_dir():
        raise UsageError(f"no run {run_name!r} in {run.path.parent}; {known_runs(run.path.parent)}")
    config = run.agreed_config()
    judging = _as_before(config, timeout, merge_rule, integrity_rule, independent)
    dataset = load_dataset(dataset_dir or recorded_dataset(config) or settings.load().text("dataset_dir"))
    with run.lock():
        trials = _selected(run, dataset, subset, repo, task_id, features)
        with opened_backend(backend, _text(config.get("backend"))) as chosen:
            keep_images_within(chosen, disk_budget)
            hear(chosen.backend, tell)
            budget = Budget(max_cost, None, run.judging_cost())
            most = JUDGEMENTS_IN_A_BATCH if offers(chosen.backend, BatchBackend) else MOST_JUDGEMENTS
            workers = judgements_at_once(concurrency, chosen.backend, most)
            tell(
                RunStarted(run_name, len(trials), len(trials), chosen.name, chosen.reason, workers, run.path)
            )
            try:
                tasks = [dataset.task(trial.pair.repo, trial.pair.task_id) for trial in trials]
                if offers(chosen.backend, BatchBackend):
                    pinned = recorded_images(config) if frozen else {}
                    batch = Batch(run, dataset, judging, workers, budget, force, tell, pinned)
                    batch.judge(chosen.backend, trials)
                else:
                    till = Till(run, chosen.backend, budget)
                    _refuse_unpriced(till, chosen.name)
                    _tell_of_a_batch(run, tell)
                    work = sorted(
                        zip(tasks, trials, strict=True), key=lambda e: (e[0].image, e[1].pair, e[1].setting)
                    )
                    with Supply(
                        chosen.backend,
                        (task for task, _ in work),
                        tell,
                        sure=(task for task, trial in work if force or trial.read_verdict() is None),
                        recorded=recorded_images(config),
                        frozen=frozen,
                    ) as supply:
                        OneByOne(chosen.backend, supply, judging, till, force, tell).judge(work, workers)
            finally:
                totals = eval_summary(run)
                run.write_eval_summary(totals)
                run.write_summary(summary(run))
    tell(RunFinished(totals))
    return totals


def _refuse_unpriced(till: Till, name: str) -> None:
    if till.budget.run_limit is not None and till.price is None:
        raise UsageError(
            f"nothing says what judging on backend {name} costs: leave out --max-cost (max_cost)"
        )


def _tell_of_a_batch(run: RunDirectory, tell: Progress) -> None:
    if (batch := run.read_batch()) is not None:
        where = batch.get("backend")
        tell(
            Note(f"a batch of judgements of this run is under way on {where}; judging there goes on with it")
        )


def recorded_dataset(config: Mapping[str, Any]) -> str | None:
    """The dataset a run was made with, if it is still there."""
    place = config.get("dataset")
    return place if isinstance(place, str) and Path(place).is_dir() else None


def recorded_images(config: Mapping[str, Any]) -> dict[str, str]:
    """The digests a run's images had."""
    images = config.get("images")
    return {k: v for k, v in images.items() if isinstance(v, str)} if isinstance(images, dict) else {}


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
