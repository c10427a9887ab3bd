"""A dataset's own health: do the gold patches merge, pass their tests, and does an empty patch fail them?

Merges cost one sandbox for each task, all its pairs in it. Whatever is finished goes into a journal at once, so a
validation that was stopped goes on where it was; a line of it is used only if what it rests on is still the same.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cooperbench import atomic, diffnames
from cooperbench.dataset import load_dataset, select
from cooperbench.dataset.model import Dataset, Pair, Task
from cooperbench.errors import JudgeError, UsageError
from cooperbench.eval.backends import shell
from cooperbench.eval.backends.base import EvalBackend
from cooperbench.eval.endable import UnderWay
from cooperbench.eval.health import Journal, Unit, report
from cooperbench.eval.judging import SOLO, Judging, judge
from cooperbench.eval.plan import judge_program, plan_merges
from cooperbench.eval.sources import (
    Chosen,
    hear,
    judgements_at_once,
    keep_images_within,
    one_at_a_time,
    opened_backend,
)
from cooperbench.eval.supply import Supply
from cooperbench.events import Note, Progress
from cooperbench.pool import describe

DEFAULT_OUTPUT = "validation"
JOURNAL = "journal.jsonl"
REPORT = "gold_conflict_report.json"


def validate(
    subset: str | None = None,
    repo: str | None = None,
    task_id: int | None = None,
    features: Sequence[int] | None = None,
    concurrency: int | None = None,
    backend: str | None = None,
    dataset_dir: Path | str | None = None,
    output_dir: Path | str | None = None,
    *,
    image: str | None = None,
    merges_only: bool = False,
    force: bool = False,
    timeout: float = 600,
    disk_budget: int | None = None,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Check a dataset, or the part of it that a selection names.

    Args:
        features: only these features, and the pairs among them.
        image: only tasks of this image.
        concurrency: sandboxes at once; None as in `evaluate`.
        output_dir: where the journal and the report go; None for ``./validation``.
        merges_only: only whether gold patches merge.
        force: find out everything anew.
        disk_budget: bytes of images to keep, on a backend that keeps any; None as its settings say.

    Returns:
        The report, also written to ``gold_conflict_report.json``: ``summary``, ``per_task``, ``conflict_pairs``,
        ``all_results`` as published, and ours: ``features`` (gold and empty patch of each) and ``healthy``.

    Raises:
        UsageError: no such selection, dataset or backend.
    """
    tell = one_at_a_time(progress)
    dataset = load_dataset(dataset_dir)
    pairs = select(
        dataset,
        subset=subset,
        repo=repo,
        task_id=task_id,
        features=features,
        setting="solo" if features else "coop",
    )
    folder = Path(output_dir or DEFAULT_OUTPUT)
    folder.mkdir(parents=True, exist_ok=True)
    started = time.monotonic()
    with (
        atomic.locked(folder / ".lock", f"another validation is at work in {folder}"),
        opened_backend(backend) as chosen,
    ):
        journal = Journal(folder / JOURNAL, fresh=force)
        keep_images_within(chosen, disk_budget)
        hear(chosen.backend, tell)
        wanted = _wanted(_tasks(dataset, pairs, image).values(), pairs, merges_only)
        at_once = judgements_at_once(concurrency, chosen.backend)
        images = sorted((asked.task for asked in wanted), key=lambda task: task.image)
        with Supply(chosen.backend, images, tell) as supply:
            inquiry = _Inquiry(chosen, supply, journal, timeout, tell)
            supply.ready_first()
            then = "finds out everything anew" if force else "goes on with the rest"
            with inquiry.under_way.none_left(supply.stop, tell, then):
                units = _find_out(inquiry, wanted, at_once)
        found = report(dataset, pairs, units, journal, time.monotonic() - started)
    atomic.write_json(folder / REPORT, found)
    return found


def _tasks(dataset: Dataset, pairs: Sequence[Pair], image: str | None) -> dict[tuple[str, int], Task]:
    tasks = {(p.repo, p.task_id): dataset.task(p.repo, p.task_id) for p in pairs}
    if image is None:
        return tasks
    found = {key: task for key, task in tasks.items() if task.image == image}
    if not found:
        known = ", ".join(sorted({task.image for task in tasks.values()})[:5])
        raise UsageError(f"no selected task has image {image!r}; images are {known} …")
    return found


@dataclass(frozen=True, slots=True)
class _Asked:
    """A `Unit` before its image is known."""

    kind: str
    task: Task
    feature: int


def _wanted(tasks: Iterable[Task], pairs: Sequence[Pair], merges_only: bool) -> list[_Asked]:
    """Everything to find out."""
    wanted = []
    for task in tasks:
        wanted.append(_Asked("merges", task, 0))
        own = (p.features for p in pairs if (p.repo, p.task_id) == (task.repo, task.task_id))
        for number in sorted({n for features in own for n in features}) if not merges_only else ():
            wanted += [_Asked("gold", task, number), _Asked("empty", task, number)]
    return wanted


def _unit(asked: _Asked, digest: str | None, timeout: float) -> Unit:
    task, number = asked.task, asked.feature
    judge_hash = hashlib.sha256(judge_program()).hexdigest()
    seal = f"{digest} {task.image} {judge_hash}".encode()
    if asked.kind == "merges":
        gold = [feature.gold_patch for feature in task.features.values()]
        return Unit("merges", task, 0, _sha256(seal, *gold))
    feature = task.features[number]
    parts = [seal, str(timeout).encode(), feature.tests_patch]
    if asked.kind == "gold":
        parts.append(feature.gold_patch)
    return Unit(asked.kind, task, number, _sha256(*parts))


@dataclass(frozen=True, slots=True)
class _Inquiry:
    """What all units share."""

    chosen: Chosen
    supply: Supply
    journal: Journal
    timeout: float
    tell: Progress
    under_way: UnderWay = field(default_factory=UnderWay, init=False)

    def answer(self, asked: _Asked) -> tuple[Unit, dict[str, Any] | None]:
        """A unit and what was found out; None: that was known."""
        try:
            digest = self.supply.ready(asked.task)
            unit = _unit(asked, digest, self.timeout)
            if self.journal.get(unit) is not None:
                return unit, None
            with self.under_way.one(self.chosen.backend, self.chosen.name) as backend:
                if unit.kind == "merges":
                    return unit, _merges(backend, unit.task)
                return unit, _feature(backend, unit, self.timeout, digest)
        finally:
            self.supply.finished(asked.task)


def _find_out(inquiry: _Inquiry, wanted: Sequence[_Asked], concurrency: int) -> list[Unit]:
    """Everything, in the order of the images; the units come back in the order they were asked for."""
    units: dict[int, Unit] = {}
    ordered = sorted(enumerate(wanted), key=lambda each: each[1].task.image)
    work = [(asked.task, place) for place, asked in ordered]
    with closing(
        inquiry.supply.work_off(work, lambda _, place: inquiry.answer(wanted[place]), concurrency)
    ) as results:
        for place, result in results:
            asked = wanted[place]
            if isinstance(result, Exception):
                units[place] = _unit(asked, None, inquiry.timeout)
                inquiry.journal.note_error(units[place], describe(result))
                text = describe(result)
            else:
                units[place], found = result
                if found is None:
                    continue
                inquiry.journal.put(units[place], found)
                text = found["text"]
            about = f" feature {asked.feature}" if asked.feature else ""
            inquiry.tell(Note(f"[{len(units)}/{len(wanted)}] {asked.kind} {asked.task.name}{about}: {text}"))
    return [units[place] for place in range(len(wanted))]


# ------------------------------------------------------------------------------------------------ one unit


def _merges(backend: EvalBackend, task: Task) -> dict[str, Any]:
    numbers = list(task.features)
    job = plan_merges(task, [task.features[n].gold_patch for n in numbers], {"trial": task.name})
    output = shell.run_job(backend, job)
    if output.returncode != 0 or output.facts.get("done") != b"yes\n":
        said = output.stderr.decode("utf-8", "replace").strip()[-300:]
        raise JudgeError(
            f"{task.name}: merging ended with status {output.returncode}: {said or 'it said nothing'}"
        )
    statuses = {n: output.facts.get(f"apply.{i}", b"").strip().decode() for i, n in enumerate(numbers, 1)}
    results = []
    for line in output.facts.get("pairs", b"").decode("ascii", "replace").splitlines():
        first, second, status = line.split()
        left, right = numbers[int(first) - 1], numbers[int(second) - 1]
        files = output.facts.get(f"conflicts.{first}.{second}", b"").splitlines()
        results.append([left, right, status, [diffnames.text(diffnames.whole(name)) for name in files]])
    conflicts = sum(status == "conflicts" for _, _, status, _ in results)
    return {
        "pairs": results,
        "not_applied": [n for n, status in statuses.items() if status == "failed"],
        "text": f"{len(results)} pairs, {conflicts} conflict",
    }


def _feature(backend: EvalBackend, unit: Unit, timeout: float, digest: str | None) -> dict[str, Any]:
    task = unit.task
    patch = task.features[unit.feature].gold_patch if unit.kind == "gold" else b""
    judgement = judge(
        backend,
        task,
        Pair(task.repo, task.task_id, (unit.feature,)),
        {SOLO: patch},
        "solo",
        Judging(timeout=timeout),
        image_digest=digest,
        labels={"trial": f"{task.name}/{unit.kind}/{unit.feature}"},
    )
    result = judgement.verdict.results[0]
    good = result.passed == (unit.kind == "gold")
    reason = "" if good else (result.reason or "the empty patch passes the tests")
    return {
        "passed": result.passed,
        "good": good,
        "reason": reason,
        "seconds": result.seconds,
        "tests_passed": result.tests_passed,
        "tests_failed": result.tests_failed,
        "text": "as it should be" if good else reason,
    }


def _sha256(*parts: bytes) -> str:
    digest = hashlib.sha256()
    for part in parts:
        digest.update(len(part).to_bytes(8, "big") + part)
    return digest.hexdigest()
