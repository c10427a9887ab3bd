"""Judging patches that belong to no run: one patch on one feature, or a trial's patches given by hand."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from cooperbench.dataset import load_dataset
from cooperbench.dataset.model import Pair, Task
from cooperbench.errors import BackendError, UsageError
from cooperbench.eval.judging import SOLO, Judgement, Judging, judge
from cooperbench.eval.plan import Rules
from cooperbench.eval.sources import opened_backend, ready_image

PatchSource = bytes | str | Path | None


def run_patch_test(
    repo_name: str,
    task_id: int,
    feature_id: int,
    agent_patch: PatchSource = None,
    timeout: float = 600,
    backend: str | None = None,
    dataset_dir: Path | str | None = None,
    *,
    integrity_rule: str = "report",
) -> dict[str, Any]:
    """Test one patch against one feature's hidden tests.

    Args:
        agent_patch: a file (`Path`, or its name as `str`), or the patch itself (`bytes`, or a `str` with a newline in
            it: no path has one); None for the gold patch.
        timeout: seconds the tests may take.

    Returns:
        ``passed``, ``tests_passed``, ``tests_failed``, ``tests_total``, ``output`` (the log's end), ``error`` (the
        infrastructure's trouble, else None), and ours: ``reason``, ``verdict`` (as in ``eval.json``).

    Raises:
        UsageError: no such task, feature, file or backend.
    """
    task = load_dataset(dataset_dir).task(repo_name, task_id)
    pair = _pair(task, [feature_id])
    patch = task.features[feature_id].gold_patch if agent_patch is None else read_patch(agent_patch)
    judging = Judging(timeout=timeout, rules=Rules(integrity=integrity_rule))
    try:
        judgement = _judge_by_hand(task, pair, {SOLO: patch}, "solo", judging, backend)
    except BackendError as error:
        return {**_NO_RESULT, "error": str(error)}
    result = judgement.verdict.results[0]
    return {
        "passed": result.passed,
        "tests_passed": result.tests_passed,
        "tests_failed": result.tests_failed,
        "tests_total": result.tests_total,
        "output": result.test_output,
        "error": None,
        "reason": result.reason,
        "verdict": judgement.verdict.to_json(),
    }


_NO_RESULT: Mapping[str, Any] = {
    "passed": False,
    "tests_passed": 0,
    "tests_failed": 0,
    "tests_total": 0,
    "output": "",
    "reason": "",
    "verdict": None,
}


def test_merged(
    repo_name: str,
    task_id: int,
    feature1_id: int,
    feature2_id: int,
    patch1: PatchSource,
    patch2: PatchSource,
    timeout: float = 600,
    backend: str | None = None,
    dataset_dir: Path | str | None = None,
    *,
    merge_rule: str = "git",
    independent: bool = False,
) -> dict[str, Any]:
    """Merge two patches and run both features' hidden tests on the result.

    `patch1` belongs to `feature1_id` and `patch2` to `feature2_id`, in whichever order they are given; ``feature1``
    and ``agent1`` of the answer are the smaller number. An absent patch (None) is an agent that wrote nothing.

    Returns:
        ``eval.json`` as a dict: ``apply_status``, ``merge``, ``feature1``, ``feature2``, ``both_passed``, ``error`` …
    """
    task = load_dataset(dataset_dir).task(repo_name, task_id)
    pair = _pair(task, [feature1_id, feature2_id])
    patches = {feature1_id: read_patch(patch1), feature2_id: read_patch(patch2)}
    judging = Judging(timeout=timeout, rules=Rules(merge=merge_rule), independent=independent)
    return _as_dict(task, pair, patches, "coop", judging, backend)


def test_solo(
    repo_name: str,
    task_id: int,
    feature1_id: int,
    feature2_id: int,
    patch: PatchSource,
    timeout: float = 600,
    backend: str | None = None,
    dataset_dir: Path | str | None = None,
) -> dict[str, Any]:
    """Run both features' hidden tests on one agent's patch.

    Returns:
        ``setting``, ``patch_lines``, ``feature1``, ``feature2``, ``both_passed``, ``error``, and the rest of
        ``eval.json``.
    """
    task = load_dataset(dataset_dir).task(repo_name, task_id)
    pair = _pair(task, [feature1_id, feature2_id])
    content = read_patch(patch)
    answer = _as_dict(task, pair, {SOLO: content}, "solo", Judging(timeout=timeout), backend)
    return {**answer, "patch_lines": len(content.splitlines())}


def evaluate_merge(
    repo_name: str,
    task_id: int,
    feature1_id: int,
    feature2_id: int,
    patch1: PatchSource,
    patch2: PatchSource,
    timeout: float = 600,
    backend: str | None = None,
    dataset_dir: Path | str | None = None,
) -> dict[str, Any]:
    """`test_merged`, shaped as before: ``feature{1,2}_tests_passed`` of ``…_tests_total``, 0 or 1 of 1."""
    answer = test_merged(
        repo_name, task_id, feature1_id, feature2_id, patch1, patch2, timeout, backend, dataset_dir
    )
    numbers = {
        f"feature{n}_tests_{what}": value
        for n in (1, 2)
        for what, value in (
            ("passed", int((answer.get(f"feature{n}") or {}).get("passed", False))),
            ("total", 1),
        )
    }
    return {**numbers, "error": answer["error"]}


def read_patch(source: PatchSource) -> bytes:
    """The patch's bytes, whichever way it was given; nothing is guessed.

    Raises:
        UsageError: a file that does not exist or cannot be read.
    """
    if source is None:
        return b""
    if isinstance(source, bytes):
        return source
    if isinstance(source, str) and ("\n" in source or not source):
        return source.encode("utf-8", "surrogateescape")
    path = Path(source)
    try:
        return path.read_bytes()
    except OSError as error:
        why = error.strerror or str(error)
        raise UsageError(
            f"cannot read the patch file {str(path)[:200]!r}: {why}; a patch's text has a newline in it"
        ) from error


def _pair(task: Task, features: Sequence[int]) -> Pair:
    for number in features:
        if number not in task.features:
            known = ", ".join(map(str, task.features))
            raise UsageError(f"{task.name} has no feature {number}; its features are {known}")
    if len(set(features)) != len(features):
        raise UsageError(
            f"{task.name}: feature {features[0]} is named twice; a pair has two different features"
        )
    return Pair(task.repo, task.task_id, tuple(sorted(features)))


def _judge_by_hand(
    task: Task, pair: Pair, patches: Mapping[int, bytes], setting: str, judging: Judging, backend: str | None
) -> Judgement:
    with opened_backend(backend) as chosen:
        digest = ready_image(chosen.backend, task)
        return judge(
            chosen.backend,
            task,
            pair,
            patches,
            setting,
            judging,
            image_digest=digest,
            labels={"trial": pair.name},
        )


def _as_dict(
    task: Task, pair: Pair, patches: Mapping[int, bytes], setting: str, judging: Judging, backend: str | None
) -> dict[str, Any]:
    try:
        return _judge_by_hand(task, pair, patches, setting, judging, backend).verdict.to_json()
    except BackendError as error:
        return _infrastructure_error(task, pair, setting, str(error))


def _infrastructure_error(task: Task, pair: Pair, setting: str, error: str) -> dict[str, Any]:
    """The same keys, no verdict."""
    nothing = {
        f"feature{n}": {"feature_id": feature, "passed": False} for n, feature in enumerate(pair.features, 1)
    }
    return {
        "repo": task.repo,
        "task_id": task.task_id,
        "features": list(pair.features),
        "setting": setting,
        "passed": None,
        "both_passed": False,
        "apply_status": {f"agent{n}": "unknown" for n in range(1, len(pair.features) + 1)},
        "merge": {"status": "error", "strategy": None, "diff": "", "files": []}
        if setting != "solo"
        else None,
        **nothing,
        "error": error,
    }
