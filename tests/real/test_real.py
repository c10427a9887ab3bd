"""The main job on real input: two published tasks rebuilt, validated, and run whole with the reference solutions.

Needs the package index (once) and the published dataset's files; without them it is skipped, and on CI it fails.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from prepare import CHECKOUT, PreparationError, prepare, published_dataset

import cooperbench

pytestmark = [pytest.mark.real, pytest.mark.timeout(600)]

CLICK = "pallets_click_task/2956"
JINJA = "pallets_jinja_task/1465"
FEATURES = {CLICK: 8, JINJA: 10}
PAIRS = {CLICK: 28, JINJA: 45}
CONFLICTS = {CLICK: 17, JINJA: 45}
"""As published with the dataset."""
CONCURRENCY = 2 * (os.cpu_count() or 1)


@dataclass(frozen=True, slots=True)
class Ran:
    """A whole run: its directory, and how long all of it took."""

    path: Path
    seconds: float

    def summary(self) -> dict[str, Any]:
        return dict(json.loads((self.path / "summary.json").read_text()))

    def verdicts(self) -> dict[str, dict[str, Any]]:
        """Every verdict on disk, by ``repo/task_id/f1_f2``."""
        return {
            "/".join(file.parts[-4:-1]): json.loads(file.read_text())
            for file in self.path.glob("*/*/*/*/eval.json")
        }


@pytest.fixture(scope="module")
def dataset() -> Path:
    try:
        return prepare(CHECKOUT / ".real", published_dataset())
    except PreparationError as problem:
        if os.environ.get("CI"):
            pytest.fail(str(problem))
        pytest.skip(str(problem))


@pytest.fixture(scope="module")
def report(dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What `validate` says; it builds both images."""
    folder = tmp_path_factory.mktemp("validation")
    return cooperbench.validate(
        backend="local", dataset_dir=dataset, output_dir=folder, concurrency=CONCURRENCY
    )


@pytest.fixture(scope="module")
def coop(dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> Ran:
    return run_gold(dataset, "coop", tmp_path_factory.mktemp("coop"))


@pytest.fixture(scope="module")
def solo(dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> Ran:
    return run_gold(dataset, "solo", tmp_path_factory.mktemp("solo"))


def run_gold(dataset: Path, setting: str, logs: Path) -> Ran:
    begun = time.perf_counter()
    cooperbench.run(
        run_name="gold",
        agent="gold",
        setting=setting,
        backend="local",
        concurrency=CONCURRENCY,
        eval_concurrency=CONCURRENCY,
        dataset_dir=dataset,
        logs_dir=logs,
    )
    return Ran(logs / "gold", time.perf_counter() - begun)


def test_every_gold_patch_passes_its_tests_and_no_empty_patch_does(report: dict[str, Any]) -> None:
    found = dict.fromkeys(FEATURES, 0)
    for row in report["features"]:
        assert row["gold_passes"] is True, row
        assert row["empty_fails"] is True, row
        found[f"{row['repo']}/{row['task_id']}"] += 1
    assert found == FEATURES
    assert report["healthy"] is True


def test_gold_patches_conflict_where_the_published_report_has_it(
    report: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    with capsys.disabled():
        print_conflicts(report)
    tasks = report["per_task"]
    assert {task: tasks[directory(task)]["total"] for task in PAIRS} == PAIRS
    assert {task: tasks[directory(task)]["conflicts"] for task in CONFLICTS} == CONFLICTS
    assert report["summary"]["errors"] == 0


def test_coop_passes_exactly_where_gold_patches_merge(coop: Ran, report: dict[str, Any]) -> None:
    conflicting = {
        f"{row['repo']}/{row['task_id']}/f{row['f1']}_f{row['f2']}" for row in report["conflict_pairs"]
    }
    verdicts = coop.verdicts()
    assert len(verdicts) == sum(PAIRS.values())
    assert {
        name for name, verdict in verdicts.items() if verdict["merge"]["status"] == "conflicts"
    } == conflicting
    assert {name for name, verdict in verdicts.items() if verdict["passed"]} == verdicts.keys() - conflicting
    conflicts = sum(CONFLICTS.values())
    expect_totals(coop, passed=sum(PAIRS.values()) - conflicts, failed=conflicts)


def test_a_verdict_of_coop_counts_both_suites(coop: Ran) -> None:
    for name, verdict in coop.verdicts().items():
        assert verdict["integrity"] == [], name
        assert verdict["apply_status"] == {"agent1": "applied", "agent2": "applied"}, name
        if verdict["passed"]:
            assert all(result["tests_passed"] > 100 for result in results(verdict)), name
            assert all(result["tests_failed"] == 0 for result in results(verdict)), name


def test_solo_passes_every_pair(solo: Ran) -> None:
    failed = {name: verdict["reason"] for name, verdict in solo.verdicts().items() if not verdict["passed"]}
    assert failed == {}
    expect_totals(solo, passed=sum(PAIRS.values()), failed=0)


def test_the_tests_a_solution_brings_along_are_not_what_judges_it(solo: Ran) -> None:
    """Jinja's combined patch edits the very test files that the hidden tests replace."""
    dropped = {
        name: verdict["dropped"] for name, verdict in solo.verdicts().items() if name.startswith(JINJA)
    }
    assert len(dropped) == PAIRS[JINJA]
    for name, agents in dropped.items():
        assert "tests/test_filters.py" in agents["agent1"], name


def test_what_a_pair_costs_beside_the_bare_commands(
    dataset: Path, coop: Ran, solo: Ran, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    figures = tmp_path / "overhead.json"
    script = CHECKOUT / "bench" / "overhead.py"
    options = ["--dataset", str(dataset), "--rounds", "5", "--json", str(figures)]
    done = subprocess.run([sys.executable, str(script), *options], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    bare = {
        f"{row['repo']}/{row['task_id']}": row["bare_ms"] / 1000 for row in json.loads(figures.read_text())
    }
    with capsys.disabled():
        print_costs({"coop": coop, "solo": solo}, bare)
        print(done.stdout)


def expect_totals(run: Ran, *, passed: int, failed: int) -> None:
    judged = run.summary()["eval"]
    expected = {"total": passed + failed, "passed": passed, "failed": failed, "errors": 0, "pending": 0}
    assert {key: judged[key] for key in expected} == expected


def results(verdict: dict[str, Any]) -> list[dict[str, Any]]:
    return [verdict["feature1"], verdict["feature2"]]


def directory(task: str) -> str:
    """How the published report writes a task."""
    repo, number = task.split("/")
    return f"{repo}/task{number}"


def print_conflicts(report: dict[str, Any]) -> None:
    print(f"\n\n{'gold patches':<28}{'pairs':>8}{'conflicts':>11}{'clean':>8}{'errors':>8}")
    for task, row in report["per_task"].items():
        print(f"{task:<28}{row['total']:>8}{row['conflicts']:>11}{row['clean']:>8}{row['errors']:>8}")
    print(f"validated in {report['summary']['elapsed_seconds']} s, images included")


def print_costs(runs: dict[str, Ran], bare: dict[str, float]) -> None:
    """`bare` is what the test commands of the tested pairs took by hand, one after the other."""
    print(
        f"\n\n{'run':<8}{'pairs':>7}{'tested':>8}{'passed':>8}{'wall s':>9}{'wall/pair s':>13}{'bare/pair s':>13}"
    )
    for setting, run in runs.items():
        verdicts = run.verdicts()
        tested = [
            name for name, verdict in verdicts.items() if any(row["tests_total"] for row in results(verdict))
        ]
        by_hand = sum(bare[name.rpartition("/")[0]] for name in tested)
        passed = sum(verdict["passed"] for verdict in verdicts.values())
        print(
            f"{setting:<8}{len(verdicts):>7}{len(tested):>8}{passed:>8}{run.seconds:>9.1f}"
            f"{run.seconds / len(verdicts):>13.2f}{by_hand / len(verdicts):>13.2f}"
        )
    print(
        f"wall: {CONCURRENCY} at a time on {os.cpu_count()} processors, agents included; bare: the tests only\n"
    )
