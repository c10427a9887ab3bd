"""A dataset's own health: do the gold patches merge, pass their tests, and does an empty patch fail them?

Merges cost one sandbox for each task, all its pairs in it. Whatever is finished goes into a journal at once, so a
validation that was stopped goes on where it was; a line of it is used only if what it rests on is still the same.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

from cooperbench import atomic, diffnames
from cooperbench.dataset import load_dataset, select
from cooperbench.dataset.model import Dataset, Pair, Task
from cooperbench.errors import JudgeError
from cooperbench.eval.backends import shell
from cooperbench.eval.backends.base import EvalBackend
from cooperbench.eval.judging import SOLO, Judging, judge
from cooperbench.eval.plan import judge_program, plan_merges
from cooperbench.eval.sources import opened_backend, ready_images
from cooperbench.events import Note, Progress
from cooperbench.pool import describe, pooled

DEFAULT_OUTPUT = "validation"
JOURNAL = "journal.jsonl"
REPORT = "gold_conflict_report.json"


@dataclass(frozen=True, slots=True)
class _Unit:
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


def validate(
    subset: str | None = None,
    repo: str | None = None,
    task_id: int | None = None,
    features: Sequence[int] | None = None,
    concurrency: int = 2,
    backend: str | None = None,
    dataset_dir: Path | str | None = None,
    output_dir: Path | str | None = None,
    *,
    merges_only: bool = False,
    force: bool = False,
    timeout: float = 600,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Check a dataset, or the part of it that a selection names.

    Args:
        features: only these features, and the pairs among them.
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
        journal = _Journal(folder / JOURNAL, fresh=force)
        tasks = {(p.repo, p.task_id): dataset.task(p.repo, p.task_id) for p in pairs}
        digests = ready_images(chosen.backend, tasks.values(), tell)
        units = list(_units(tasks.values(), pairs, digests, timeout, merges_only))
        _find_out(chosen.backend, units, journal, concurrency, timeout, digests, tell)
        report = _report(dataset, pairs, units, journal, time.monotonic() - started)
    atomic.write_json(folder / REPORT, report)
    return report


def _units(
    tasks: Iterable[Task],
    pairs: Sequence[Pair],
    digests: Mapping[str, str | None],
    timeout: float,
    merges_only: bool,
) -> Iterator[_Unit]:
    judge_hash = hashlib.sha256(judge_program()).hexdigest()
    for task in tasks:
        seal = f"{digests.get(task.image)} {task.image} {judge_hash}".encode()
        gold = [feature.gold_patch for feature in task.features.values()]
        yield _Unit("merges", task, 0, _sha256(seal, *gold))
        if merges_only:
            continue
        for number in sorted(
            {n for p in pairs if (p.repo, p.task_id) == (task.repo, task.task_id) for n in p.features}
        ):
            feature = task.features[number]
            parts = (seal, str(timeout).encode(), feature.tests_patch)
            yield _Unit("gold", task, number, _sha256(*parts, feature.gold_patch))
            yield _Unit("empty", task, number, _sha256(*parts))


def _find_out(
    backend: EvalBackend,
    units: Sequence[_Unit],
    journal: _Journal,
    concurrency: int,
    timeout: float,
    digests: Mapping[str, str | None],
    tell: Progress,
) -> None:
    pending = [unit for unit in units if journal.get(unit) is None]
    done = len(units) - len(pending)

    def work(unit: _Unit) -> dict[str, Any]:
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


def _feature(backend: EvalBackend, unit: _Unit, timeout: float, digest: str | None) -> dict[str, Any]:
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


# ------------------------------------------------------------------------------------------------ journal and report


class _Journal:
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

    def get(self, unit: _Unit) -> dict[str, Any] | None:
        return self._known.get(unit.key)

    def put(self, unit: _Unit, result: dict[str, Any]) -> None:
        self._known[unit.key] = result
        with self._path.open("ab") as file:
            file.write(json.dumps({"key": unit.key, "result": result}).encode() + b"\n")

    def note_error(self, unit: _Unit, error: str) -> None:
        """Infrastructure trouble is told, never kept: the next validation tries again."""
        self.errors[unit.key] = error


def _report(
    dataset: Dataset, pairs: Sequence[Pair], units: Sequence[_Unit], journal: _Journal, seconds: float
) -> dict[str, Any]:
    wanted = {(p.repo, p.task_id, a, b) for p in pairs for a, b in combinations(p.features, 2)}
    rows = [
        row
        for unit in units
        if unit.kind == "merges"
        for row in _pair_rows(unit, journal)
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


def _pair_rows(unit: _Unit, journal: _Journal) -> Iterator[dict[str, Any]]:
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


def _feature_rows(units: Sequence[_Unit], journal: _Journal) -> list[dict[str, Any]]:
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


def _fill(row: dict[str, Any], unit: _Unit, journal: _Journal) -> None:
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


def _sha256(*parts: bytes) -> str:
    digest = hashlib.sha256()
    for part in parts:
        digest.update(len(part).to_bytes(8, "big") + part)
    return digest.hexdigest()
