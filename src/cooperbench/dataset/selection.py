"""Which trials: subsets by name, and filters by repository, task and features. Of the disk only subset files.

A selection is an intersection: what the subset holds, of it what the filters leave. An empty one is an error
that says which part emptied it, because a run over nothing looks like a run that went well.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from cooperbench.dataset.layout import load_dataset
from cooperbench.dataset.model import Dataset, Pair, Subset, Task
from cooperbench.dataset.naming import listing, suggestion
from cooperbench.errors import DatasetError, UsageError

FULL = "full"
SUBSETS = "subsets"
MINIMUM = {"solo": 1, "coop": 2, "team": 2}
"""Features a trial needs, by setting."""


def select(
    dataset: Dataset,
    *,
    subset: str | None = None,
    repo: str | None = None,
    task_id: int | None = None,
    features: Sequence[int] | None = None,
    setting: str = "coop",
) -> list[Pair]:
    """The trials these filters leave, ascending. Without `features` and `subset`: all pairs of the tasks.

    Args:
        features: one trial of exactly these features in every task that has them; their order means nothing.
        setting: ``solo`` takes one feature or more, ``coop`` and ``team`` two or more.

    Raises:
        UsageError: an unknown name or number (the message lists what exists), or nothing left.
    """
    least = _minimum(setting)
    wanted = None if features is None else _feature_numbers(features, least, setting)
    tasks = _filter_tasks(dataset, repo, task_id)
    if subset is not None:
        return _from_subset(load_subset(subset, dataset), tasks, wanted, least, setting)
    if wanted is not None:
        return _exact_trials(tasks, wanted)
    pairs = sorted(pair for task in tasks for pair in _pairs(task))
    if not pairs:
        raise UsageError(f"nothing to run: {listing([t.name for t in tasks])} has fewer than two features")
    return pairs


def load_subset(name: str, dataset: Dataset) -> Subset:
    """The named list of pairs; ``full`` is every pair of the dataset, whatever its files say.

    Raises:
        UsageError: no subset of that name. DatasetError: its file is damaged or names what the dataset lacks.
    """
    if name == FULL:
        every = (pair for task in dataset.tasks.values() for pair in _pairs(task))
        return Subset(FULL, "every pair of the dataset", tuple(sorted(every)))
    known = subset_names(dataset)
    if name not in known:
        hint = suggestion(name, known)
        raise UsageError(f"subset {name!r} not found{hint}; subsets of {dataset.root}: {listing(known)}")
    return _read_subset(dataset.root / SUBSETS / f"{name}.json", name, dataset)


def subset_names(dataset: Dataset) -> list[str]:
    """Every name `load_subset` takes, ascending."""
    return sorted({FULL, *(path.stem for path in (dataset.root / SUBSETS).glob("*.json"))})


def discover_tasks(
    subset: str | None = None,
    repo_filter: str | None = None,
    task_filter: int | None = None,
    features_filter: Sequence[int] | None = None,
    dataset_dir: Path | str | None = None,
) -> list[dict[str, Any]]:
    """`select` over a dataset on disk, as dictionaries ``{repo, task_id, features}``; features may be one."""
    pairs = select(
        load_dataset(dataset_dir),
        subset=subset,
        repo=repo_filter,
        task_id=task_filter,
        features=features_filter,
        setting="solo",
    )
    return [{"repo": pair.repo, "task_id": pair.task_id, "features": list(pair.features)} for pair in pairs]


# ---------------------------------------------------------------------------------------------- filters


def _minimum(setting: str) -> int:
    if setting not in MINIMUM:
        raise UsageError(
            f"unknown setting {setting!r}{suggestion(setting, MINIMUM)}; settings: {', '.join(MINIMUM)}"
        )
    return MINIMUM[setting]


def _feature_numbers(features: Sequence[int], least: int, setting: str) -> tuple[int, ...]:
    wrong = [number for number in features if type(number) is not int]
    if isinstance(features, str) or wrong:
        raise UsageError(f"features are whole numbers, as in [1, 2]; got {features!r}")
    if len(set(features)) != len(features):
        twice = sorted({number for number in features if features.count(number) > 1})
        raise UsageError(f"feature {listing(twice)} is given more than once; name each feature once")
    if len(features) < least:
        raise UsageError(f"{setting} needs at least {_count(least)}; {_count(len(features))} given")
    return tuple(sorted(features))


def _count(number: int) -> str:
    return f"{number} feature{'' if number == 1 else 's'}"


def _filter_tasks(dataset: Dataset, repo: str | None, task_id: int | None) -> list[Task]:
    repos = sorted({name for name, _ in dataset.tasks})
    if repo is not None and repo not in repos:
        raise UsageError(
            f"no repository {repo!r} in {dataset.root}{suggestion(repo, repos)}; "
            f"repositories: {listing(repos)}"
        )
    of_repo = [task for task in dataset.tasks.values() if repo is None or task.repo == repo]
    found = [task for task in of_repo if task_id is None or task.task_id == task_id]
    if not found:
        where = f" of {repo}" if repo is not None else ""
        known = [task.task_id if repo is not None else task.name for task in of_repo]
        raise UsageError(f"no task {task_id}{where} in {dataset.root}; tasks{where}: {listing(known)}")
    return found


def _exact_trials(tasks: Sequence[Task], wanted: tuple[int, ...]) -> list[Pair]:
    having = [task for task in tasks if task.features.keys() >= set(wanted)]
    if not having:
        known = "; ".join(f"{task.name} has {listing(list(task.features))}" for task in tasks[:8])
        more = f"; and {len(tasks) - 8} more tasks" if len(tasks) > 8 else ""
        raise UsageError(f"no task selected has {_features(wanted)}: {known}{more}")
    return [Pair(task.repo, task.task_id, wanted) for task in having]


def _features(numbers: Sequence[int]) -> str:
    return f"feature{'' if len(numbers) == 1 else 's'} {','.join(map(str, numbers))}"


def _from_subset(
    subset: Subset, tasks: Sequence[Task], wanted: tuple[int, ...] | None, least: int, setting: str
) -> list[Pair]:
    keys = {(task.repo, task.task_id) for task in tasks}
    here = [pair for pair in subset.pairs if (pair.repo, pair.task_id) in keys]
    if not here:
        inside = sorted({f"{pair.repo}/{pair.task_id}" for pair in subset.pairs})
        raise UsageError(
            f"nothing to run: subset {subset.name!r} holds no pair of "
            f"{listing([task.name for task in tasks])}; its tasks: {listing(inside)}"
        )
    if wanted is not None:
        if not any(pair.features == wanted for pair in here):
            held = listing([pair.name for pair in here])
            raise UsageError(
                f"nothing to run: subset {subset.name!r} does not hold {_features(wanted)} there; "
                f"it holds {held}"
            )
        here = [pair for pair in here if pair.features == wanted]
    short = [pair.name for pair in here if len(pair.features) < least]
    if short:
        raise UsageError(
            f"{setting} needs at least {_count(least)}; subset {subset.name!r} has {listing(short)}"
        )
    return here


def _pairs(task: Task) -> Iterable[Pair]:
    return (Pair(task.repo, task.task_id, two) for two in itertools.combinations(task.features, 2))


# ---------------------------------------------------------------------------------------------- subset files


def _read_subset(path: Path, name: str, dataset: Dataset) -> Subset:
    try:
        content = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise DatasetError(f"{path} cannot be read as JSON: {error}") from error
    try:
        entries = [_entry(entry) for entry in content["tasks"]]
        description = str(content.get("description", ""))
    except (TypeError, KeyError, ValueError, AttributeError) as error:
        shape = '{"tasks": [{"repo": …, "task_id": …, "pairs": [[1, 2], …]}, …]}'
        raise DatasetError(
            f"{path} is not a subset: expected {shape} ({type(error).__name__}: {error})"
        ) from error
    pairs = [pair for pairs in entries for pair in pairs]
    _check_members(path, pairs, dataset)
    return Subset(name, description, tuple(sorted(pairs)))


def _entry(entry: dict[str, Any]) -> list[Pair]:
    numbers = [entry["task_id"], *(number for pair in entry["pairs"] for number in pair)]
    if any(type(number) is not int for number in numbers) or not isinstance(entry["repo"], str):
        raise ValueError("repo is a name; task_id and features are whole numbers")
    return [Pair(entry["repo"], entry["task_id"], tuple(sorted(pair))) for pair in entry["pairs"]]


def _check_members(path: Path, pairs: Sequence[Pair], dataset: Dataset) -> None:
    seen: set[Pair] = set()
    if not pairs:
        raise DatasetError(f"{path} lists no pair; add some or remove the file")
    for pair in pairs:
        task = dataset.tasks.get((pair.repo, pair.task_id))
        if task is None:
            raise DatasetError(
                f"{path} names task {pair.repo}/{pair.task_id}, which {dataset.root} does not hold"
            )
        missing = [number for number in pair.features if number not in task.features]
        if missing:
            known = listing(list(task.features))
            raise DatasetError(f"{path}: {pair.name}: no {_features(missing)}; {task.name} has {known}")
        if pair in seen or not pair.features or len(set(pair.features)) != len(pair.features):
            raise DatasetError(
                f"{path}: {pair.name} is listed twice, is empty or repeats a feature; correct the file"
            )
        seen.add(pair)
