"""`evaluate` and `validate` over a run and a dataset on disk: what is judged, reused, retried, counted."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

import cooperbench
from cooperbench.dataset.model import Dataset, Pair
from cooperbench.errors import RunConflict, UsageError
from cooperbench.eval.backends.local import LocalBackend
from cooperbench.eval.sources import judgements_at_once
from cooperbench.runs import RunDirectory
from tests.judging.project import REPO, Project, lay_out

PASSES, CONFLICTS = Pair(REPO, 2, (1, 2)), Pair(REPO, 2, (1, 3))


@pytest.fixture
def run(tmp_path: Path, project: Project) -> RunDirectory:
    run = RunDirectory(tmp_path / "logs", "hand")
    for pair in (PASSES, CONFLICTS):
        trial = run.trial("coop", pair)
        for n in pair.features:
            trial.write_patch(n, project.gold(n))
        agents = {
            f"agent{i}": {"feature_id": n, "status": "Submitted"} for i, n in enumerate(pair.features, 1)
        }
        trial.write_result({"repo": REPO, "task_id": 2, "features": list(pair.features), "agents": agents})
    return run


def judge(run: RunDirectory, dataset: Dataset, **options: Any) -> dict[str, Any]:
    told: list[Any] = []
    options = {"backend": "local", "concurrency": 2, "timeout": 60, **options}
    summary = cooperbench.evaluate(
        run.name, dataset_dir=dataset.root, logs_dir=run.path.parent, progress=told.append, **options
    )
    return {**summary, "told": told}


def stamps(run: RunDirectory) -> dict[str, Any]:
    return {t.pair.name: (t.path / "eval.json").stat().st_mtime_ns for t in run.trials() if t.read_verdict()}


def test_all_is_judged_once(run: RunDirectory, dataset: Dataset) -> None:
    summary = judge(run, dataset)
    counted = {
        key: summary[key] for key in ("passed", "failed", "errors", "pending", "total_runs", "conflicts")
    }
    assert counted == {"passed": 1, "failed": 1, "errors": 0, "pending": 0, "total_runs": 2, "conflicts": 1}
    assert json.loads((run.path / "eval_summary.json").read_text())["passed"] == 1
    assert (run.trial("coop", PASSES).path / "tests.f1.log").read_bytes().count(b"test_sub")
    before = stamps(run)
    judge(run, dataset)
    assert stamps(run) == before
    judge(run, dataset, force=True)
    after = stamps(run)
    assert all(after[name] > before[name] for name in before)


def test_a_changed_patch_or_rule_makes_a_verdict_stale(
    run: RunDirectory, dataset: Dataset, project: Project
) -> None:
    judge(run, dataset)
    before = stamps(run)
    run.trial("coop", PASSES).write_patch(2, b"")
    assert judge(run, dataset)["passed"] == 0
    assert stamps(run)[PASSES.name] > before[PASSES.name]
    assert stamps(run)[CONFLICTS.name] == before[CONFLICTS.name]
    judge(run, dataset, merge_rule="union")
    verdict = run.trial("coop", CONFLICTS).read_verdict()
    assert verdict is not None
    assert verdict["rules"] == {"merge": "union", "integrity": "report"}
    assert project


@pytest.mark.parametrize(
    "damage", [b"", b'{"passed": true', b"[]", b"\xff\xfe", b'{"passed": true, "both_passed": true}']
)
def test_a_damaged_or_foreign_verdict_is_judged_anew(
    run: RunDirectory, dataset: Dataset, damage: bytes
) -> None:
    judge(run, dataset)
    file = run.trial("coop", CONFLICTS).path / "eval.json"
    file.write_bytes(damage)
    assert judge(run, dataset)["failed"] == 1
    assert json.loads(file.read_bytes())["merge"]["status"] == "conflicts"


def test_an_infrastructure_error_is_no_stored_verdict_and_is_tried_again(
    run: RunDirectory, dataset: Dataset, tmp_path: Path, project: Project
) -> None:
    broken = lay_out(tmp_path / "broken", project, "rm /usr/local/bin/runner.sh\n", {2: "true"})
    summary = judge(run, broken)
    assert (summary["errors"], summary["passed"], summary["failed"]) == (2, 0, 0)
    assert run.trial("coop", PASSES).read_verdict() is None
    assert any(getattr(event, "error", None) for event in summary["told"])
    summary = judge(run, dataset)
    assert (summary["errors"], summary["passed"]) == (0, 1)
    assert run.trial("coop", PASSES).read_judge_error() is None


def test_a_missing_patch_is_an_error(run: RunDirectory, dataset: Dataset) -> None:
    (run.trial("coop", PASSES).path / "agent2.patch").unlink()
    summary = judge(run, dataset)
    assert summary["errors"] == 1
    assert any("agent2.patch is missing" in str(getattr(event, "error", "")) for event in summary["told"])


def test_a_selection_judges_less_and_counts_all(run: RunDirectory, dataset: Dataset) -> None:
    summary = judge(run, dataset, features=[3, 1])
    assert (summary["failed"], summary["pending"], summary["total_runs"]) == (1, 1, 2)
    with pytest.raises(UsageError, match="no finished trial that fits"):
        judge(run, dataset, features=[2, 3])


def test_refusals(run: RunDirectory, dataset: Dataset) -> None:
    with pytest.raises(UsageError, match="no run 'other'"):
        cooperbench.evaluate("other", logs_dir=run.path.parent, dataset_dir=dataset.root)
    with run.lock(), pytest.raises(RunConflict, match="another process is at work"):
        judge(run, dataset)
    for none in (-1, 0, True, 2.0):
        with pytest.raises(UsageError, match="concurrency must be a whole number above 0"):
            judge(run, dataset, concurrency=none)


# ------------------------------------------------------------------------------------------------ validate


def test_a_sound_dataset_validates_and_resumes(dataset: Dataset, tmp_path: Path) -> None:
    where: dict[str, Any] = {
        "dataset_dir": dataset.root,
        "backend": "local",
        "output_dir": tmp_path,
        "timeout": 60,
        "task_id": 2,
    }
    told: list[Any] = []
    report = cooperbench.validate(**where, progress=told.append)
    assert report["healthy"], report["features"]
    assert report["summary"] | {"elapsed_seconds": 0} == {
        "total_pairs": 3,
        "conflicts": 1,
        "clean_merges": 2,
        "errors": 0,
        "conflict_rate": "33.3%",
        "elapsed_seconds": 0,
    }
    assert report["per_task"] == {f"{REPO}/task2": {"total": 3, "conflicts": 1, "clean": 2, "errors": 0}}
    assert [(row["f1"], row["f2"], row["files"]) for row in report["conflict_pairs"]] == [(1, 3, ["sums.py"])]
    assert {(f["feature"], f["gold_passes"], f["empty_fails"]) for f in report["features"]} == {
        (n, True, True) for n in (1, 2, 3)
    }
    first = sum("as it should be" in getattr(event, "text", "") for event in told)
    assert first == 6
    journal = tmp_path / "journal.jsonl"
    journal.write_bytes(journal.read_bytes()[:-20])  # a harness killed while it wrote
    told.clear()
    again = cooperbench.validate(**where, progress=told.append)
    assert again["healthy"]
    assert again["features"] == report["features"] or again["summary"]["errors"] == 0
    assert sum("/" in getattr(event, "text", "") and "[" in event.text for event in told) == 1


def test_an_ill_dataset_says_what_ails_it(dataset: Dataset, tmp_path: Path, project: Project) -> None:
    root = tmp_path / "ill"
    shutil.copytree(dataset.root, root)
    task = root / REPO / "task2"
    (task / "feature1" / "feature.patch").write_bytes(project.gold(3))
    (task / "feature2" / "feature.patch").write_bytes(b"--- a/none.py\n+++ b/none.py\n@@ -1 +1 @@\n-a\n+b\n")
    (task / "feature3" / "tests.patch").write_bytes(
        project.patch(
            {
                "tests/test_idle.py": b"import unittest\n\n\nclass T(unittest.TestCase):\n    def test(self): pass\n"
            }
        )
    )
    report = cooperbench.validate(
        dataset_dir=root, backend="local", output_dir=tmp_path / "out", timeout=60, task_id=2
    )
    assert not report["healthy"]
    reasons = {f["feature"]: f["reason"] for f in report["features"]}
    assert reasons[1].startswith("gold: the tests ended with status 1")
    assert "gold: a patch did not apply" in reasons[2]
    assert reasons[3] == "empty: the empty patch passes the tests"
    rows = {(row["f1"], row["f2"]): row for row in report["all_results"]}
    assert rows[1, 2]["patch2_apply_failed"]
    assert not rows[1, 2]["patch1_apply_failed"]
    assert rows[1, 2]["error"] == "gold patch of feature 2 does not apply"
    assert report["summary"]["errors"] == 2


def test_merges_only_needs_no_tests(dataset: Dataset, tmp_path: Path) -> None:
    report = cooperbench.validate(
        dataset_dir=dataset.root, backend="local", output_dir=tmp_path, merges_only=True
    )
    assert report["summary"]["total_pairs"] == 6
    assert report["features"] == []
    with pytest.raises(UsageError, match="no selected task has image 'x'"):
        cooperbench.validate(dataset_dir=dataset.root, backend="local", output_dir=tmp_path, image="x")


def test_judgements_at_once(backend: LocalBackend, monkeypatch: pytest.MonkeyPatch) -> None:
    assert judgements_at_once(3, backend) == 3
    assert judgements_at_once(None, backend) == min(10, backend.processors)
    assert judgements_at_once(None, object()) == 10  # type: ignore[arg-type]
    monkeypatch.setenv("COOPERBENCH_EVAL_CONCURRENCY", "7")
    assert judgements_at_once(None, backend) == 7


def test_without_other_wishes_a_run_is_judged_as_it_was(run: RunDirectory, dataset: Dataset) -> None:
    run.write_config(
        {
            "dataset": str(dataset.root),
            "rules": {"merge": "union", "integrity": "drop"},
            "test_timeout": 55,
            "independent": True,
        }
    )
    cooperbench.evaluate(run.name, logs_dir=run.path.parent, backend="local")
    verdict = run.trial("coop", CONFLICTS).read_verdict()
    assert verdict is not None
    assert verdict["rules"] == {"merge": "union", "integrity": "drop"}
    assert verdict["inputs"]["timeout"] == "55"
    assert [r["passed"] for r in verdict["independent"]] == [True, True]
    before = stamps(run)
    cooperbench.evaluate(run.name, logs_dir=run.path.parent, backend="local", dataset_dir=dataset.root)
    assert stamps(run) == before


@pytest.mark.parametrize("damage", [{"rules": "x"}, {"test_timeout": "soon"}, {"dataset": 7}])
def test_what_a_damaged_config_does_not_say_is_the_default(
    run: RunDirectory, dataset: Dataset, damage: dict[str, Any]
) -> None:
    run.write_config(damage)
    assert judge(run, dataset)["passed"] == 1
    run.write_config({"rules": {"merge": 3}})
    with pytest.raises(UsageError, match="unknown merge rule '3'"):
        judge(run, dataset)


def test_a_run_whose_config_cannot_be_read_is_not_gone_on_with(run: RunDirectory, dataset: Dataset) -> None:
    (run.path / "config.json").write_text('{"rules": {"merge": "un')
    with pytest.raises(UsageError, match=r"config\.json is damaged"):
        judge(run, dataset)
    with pytest.raises(UsageError, match=r"config\.json is damaged"):
        cooperbench.run(
            run.name, agent="noop", backend="local", dataset_dir=dataset.root, logs_dir=run.path.parent
        )
    assert not stamps(run)
