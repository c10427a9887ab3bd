"""A dataset's own health: do the gold patches merge, pass their tests, and does an empty patch fail them?

Merges cost one sandbox for each task, all its pairs in it. Whatever is finished goes into a journal at once, so a
validation that was stopped goes on where it was; a line of it is used only if what it rests on is still the same.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from cooperbench import atomic, diffnames
from cooperbench.dataset import load_dataset, select
from cooperbench.dataset.model import Dataset, Pair, Task
from cooperbench.errors import JudgeError, UsageError
from cooperbench.eval.backends import shell
from cooperbench.eval.backends.base import EvalBackend
from cooperbench.eval.health import Journal, Unit, report
from cooperbench.eval.judging import SOLO, Judging, judge
from cooperbench.eval.plan import judge_program, plan_merges
from cooperbench.eval.sources import judgements_at_once, opened_backend, ready_images
from cooperbench.events import Note, Progress
from cooperbench.pool import describe, pooled

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

    Returns:
        The report, also written to ``gold_conflict_report.json``: ``summary``, ``per_task``, ``conflict_pairs``,
        ``all_results`` as published, and ours: ``features`` (gold and empty patch of each) and ``healthy``.

    Raises:
        UsageError: no such selection, dataset or backend.
    """
    tell = progress or (lambda _: None)
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
        tasks = _tasks(dataset, pairs, image)
        digests = ready_images(chosen.backend, tasks.values(), tell)
        units = list(_units(tasks.values(), pairs, digests, timeout, merges_only))
        _find_out(
            chosen.backend,
            units,
            journal,
            judgements_at_once(concurrency, chosen.backend),
            timeout,
            digests,
            tell,
        )
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


def _units(
    tasks: Iterable[Task],
    pairs: Sequence[Pair],
    digests: Mapping[str, str | None],
    timeout: float,
    merges_only: bool,
) -> Iterator[Unit]:
    judge_hash = hashlib.sha256(judge_program()).hexdigest()
    for task in tasks:
        seal = f"{digests.get(task.image)} {task.image} {judge_hash}".encode()
        gold = [feature.gold_patch for feature in task.features.values()]
        yield Unit("merges", task, 0, _sha256(seal, *gold))
        if merges_only:
            continue
        for number in sorted(
            {n for p in pairs if (p.repo, p.task_id) == (task.repo, task.task_id) for n in p.features}
        ):
            feature = task.features[number]
            parts = (seal, str(timeout).encode(), feature.tests_patch)
            yield Unit("gold", task, number, _sha256(*parts, feature.gold_patch))
            yield Unit("empty", task, number, _sha256(*parts))


def _find_out(
    backend: EvalBackend,
    units: Sequence[Unit],
    journal: Journal,
    concurrency: int,
    timeout: float,
    digests: Mapping[str, str | None],
    tell: Progress,
) -> None:
    pending = [unit for unit in units if journal.get(unit) is None]
    done = len(units) - len(pending)

    def work(unit: Unit) -> dict[str, Any]:
        if unit.kind == "merges":
            return _merges(backend, unit.task)
        return _feature(backend, unit, timeout, digests.get(unit.task.image))

    for unit, result in pooled(pending, work, concurrency):
        done += 1
        if isinstance(result, Exception):
            journal.note_error(unit, describe(result))
            tell(Note(f"[{done}/{len(units)}] {unit.kind} {unit.task.name}: {describe(result)}"))
        else:
            journal.put(unit, result)
            about = f" feature {unit.feature}" if unit.feature else ""
            tell(Note(f"[{done}/{len(units)}] {unit.kind} {unit.task.name}{about}: {result['text']}"))


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
