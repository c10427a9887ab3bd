"""One run on disk: its settings, its lock, its trials, its summaries."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from cooperbench import atomic
from cooperbench.dataset.model import Pair
from cooperbench.errors import UsageError
from cooperbench.runs.trial import TrialDirectory

SETTINGS = ("coop", "solo", "team")

_BATCH = "batch.json"
_BATCHES = "batches.json"
_JUDGING = "judging.json"

_DOLLARS = "dollars_estimated"

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.+@=,-]{0,199}")
_TASK = re.compile(r"\d{1,18}", re.ASCII)
_FEATURES = re.compile(r"f\d{1,9}(_f\d{1,9})*", re.ASCII)


class RunDirectory:
    """A named experiment's directory. Making one of these touches nothing on disk.

    Raises:
        UsageError: the name cannot be a directory's name.
    """

    def __init__(self, logs_dir: Path | str, run_name: str) -> None:
        self.name = component(run_name, "run name")
        self.path = Path(logs_dir) / self.name

    def __repr__(self) -> str:
        return f"RunDirectory({str(self.path)!r})"

    @contextlib.contextmanager
    def lock(self) -> Iterator[None]:
        """Hold the run for writing; the kernel lets go of it when this process dies.

        Raises:
            RunConflict: another process is at work on it.
        """
        self.path.mkdir(parents=True, exist_ok=True)
        busy = (
            f"another process is at work on run {self.name!r} ({self.path}); wait for it, "
            f"or choose another run name"
        )
        with atomic.locked(self.path / ".lock", busy):
            for leftover in self.path.glob(".*.tmp"):  # of a writer that was killed: nobody else is here
                leftover.unlink(missing_ok=True)
            yield

    def read_config(self) -> dict[str, Any] | None:
        """What the run was started with; None when there is none."""
        found = atomic.kept_json(self.path / "config.json")
        return found if isinstance(found, dict) else None

    @property
    def damaged(self) -> bool:
        """Whether something stands where `read_config` reads, and cannot be understood."""
        return self.read_config() is None and (self.path / "config.json").exists()

    def agreed_config(self) -> dict[str, Any]:
        """`read_config` for work that goes on with the run; empty when it was never started.

        Raises:
            UsageError: it is damaged: nothing says which experiment the trials there are of.
        """
        if self.damaged:
            raise UsageError(
                f"{self.path / 'config.json'} is damaged, so what the run was made with is unknown; "
                "choose another run name"
            )
        return self.read_config() or {}

    def write_config(self, config: Mapping[str, Any]) -> None:
        """Keep everything needed to repeat the run."""
        atomic.write_json(self.path / "config.json", config)

    def write_summary(self, summary: Mapping[str, Any]) -> None:
        """Keep the run's totals."""
        atomic.write_json(self.path / "summary.json", summary)

    def write_eval_summary(self, summary: Mapping[str, Any]) -> None:
        """Keep the totals of judging alone."""
        atomic.write_json(self.path / "eval_summary.json", summary)

    def read_batch(self) -> dict[str, Any] | None:
        """What a backend noted of a batch of judgements that is under way; None when none is."""
        found = atomic.kept_json(self.path / _BATCH)
        return found if isinstance(found, dict) else None

    def write_batch(self, record: Mapping[str, Any]) -> None:
        """Note a batch before it is submitted, so that a later invocation takes it up."""
        atomic.write_json(self.path / _BATCH, record)

    def clear_batch(self, account: Mapping[str, Any]) -> None:
        """The batch is over; what it came to is kept with those before it."""
        if account:
            before = atomic.kept_json(self.path / _BATCHES)
            atomic.write_json(
                self.path / _BATCHES, [*(before if isinstance(before, list) else []), dict(account)]
            )
        (self.path / _BATCH).unlink(missing_ok=True)

    def add_judging_cost(self, dollars: float) -> None:
        """Count what a judgement by itself has cost, in US dollars by estimate; for one caller at a time."""
        before = _figures(atomic.kept_json(self.path / _JUDGING))
        atomic.write_json(
            self.path / _JUDGING,
            {
                "judgements": int(before.get("judgements", 0)) + 1,
                _DOLLARS: round(before.get(_DOLLARS, 0.0) + dollars, 6),
            },
        )

    def judging_cost(self) -> float:
        """US dollars, by estimate, that judging has cost so far: in batches and one by one, as far as it is known."""
        batches = atomic.kept_json(self.path / _BATCHES)
        accounts = [atomic.kept_json(self.path / _JUDGING), *(batches if isinstance(batches, list) else [])]
        return sum(_figures(account).get(_DOLLARS, 0.0) for account in accounts)

    def trial(self, setting: str, pair: Pair) -> TrialDirectory:
        """One trial's place, whether or not it has run."""
        if setting not in SETTINGS:
            raise UsageError(f"unknown setting {setting!r}; there are {', '.join(SETTINGS)}")
        repo = component(pair.repo, "repository")
        return TrialDirectory(
            self.path.joinpath(setting, repo, str(pair.task_id), pair.key), setting, pair, self.name
        )

    def trials(self) -> Iterator[TrialDirectory]:
        """Every trial directory present, ordered; those of releases that had no setting level too."""
        for setting in SETTINGS:
            for pair, path in _pairs(self.path / setting):
                yield TrialDirectory(path, setting, pair, self.name)
        for pair, path in _pairs(self.path, legacy=True):
            yield TrialDirectory(path, _deduced_setting(path), pair, self.name)


def _figures(account: Any) -> dict[str, float]:
    """The amounts in a file of ours, whatever became of it."""
    found = account.items() if isinstance(account, dict) else ()
    return {k: float(v) for k, v in found if type(v) in (int, float) and 0 <= v < 1e15}


def component(name: str, what: str) -> str:
    """`name`, if it can be one directory's name and nothing else.

    Raises:
        UsageError: it is empty, starts with a dot or a dash, or holds a slash, blank or control character.
    """
    if not isinstance(name, str) or _NAME.fullmatch(name) is None:
        raise UsageError(
            f"{what} {name!r} cannot name a directory: start with a letter, digit or '_', "
            f"go on with those or any of '.+@=,-', at most 200 in all"
        )
    return name


def _pairs(root: Path, legacy: bool = False) -> Iterator[tuple[Pair, Path]]:
    """``<repo>/<task>/f1_f2`` below `root`; what is named otherwise is not ours."""
    for repo in _directories(root):
        if _NAME.fullmatch(repo) is None or (legacy and not repo.endswith("_task")):
            continue
        tasks = [name for name in _directories(root / repo) if _TASK.fullmatch(name)]
        for task in sorted(tasks, key=int):
            folder = root / repo / task
            for pair in sorted(_pairs_of_task(repo, task, folder)):
                yield pair, folder / pair.key


def _pairs_of_task(repo: str, task: str, path: Path) -> Iterator[Pair]:
    for key in _directories(path):
        if _FEATURES.fullmatch(key):
            pair = Pair(repo, int(task), tuple(int(part[1:]) for part in key.split("_")))
            if pair.key == key and str(pair.task_id) == task:  # not f01, not 007: those are not ours
                yield pair


def _directories(path: Path) -> list[str]:
    try:
        with os.scandir(path) as entries:
            return sorted(entry.name for entry in entries if entry.is_dir())
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:  # what is not seen would be missing in every total
        raise UsageError(f"cannot read {path}: {error.strerror or error}") from error


def _deduced_setting(path: Path) -> str:
    result = atomic.read_json(path / "result.json")
    recorded = result.get("setting") if isinstance(result, dict) else None
    if recorded in SETTINGS:
        return str(recorded)
    return "solo" if (path / "solo.patch").exists() else "coop"
