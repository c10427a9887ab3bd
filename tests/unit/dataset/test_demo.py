"""The demo dataset is what `expected.json` says it is, without any sandbox."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from cooperbench.dataset import Task, demo_dataset, load_dataset, load_subset
from cooperbench.eval.testlog import counts
from tests.unit.dataset.on_host import HostTask

DATASET = load_dataset(demo_dataset())
TASKS = list(DATASET.tasks.values())


def expectations(name: str) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((demo_dataset() / name).read_text())
    return content


@pytest.fixture(params=TASKS, ids=lambda task: task.name)
def host(request: pytest.FixtureRequest, tmp_path: Path) -> HostTask:
    task: Task = request.param
    return HostTask(task, tmp_path)


def test_the_demo_needs_nothing_but_the_host() -> None:
    for task in TASKS:
        assert task.network == "none"
        assert task.recipe is not None
        assert (task.recipe.base, task.recipe.network) == ("host", "none")
        assert task.image == f"cooperbench-demo/{task.repo.removesuffix('_task')}:task{task.task_id}"


def test_every_pair_of_the_subset_has_its_agents_and_its_outcome() -> None:
    pairs = load_subset("demo", DATASET).pairs
    assert expectations("expected.json").keys() == {pair.name for pair in pairs}
    assert expectations("expected-gold.json").keys() == {p.name for p in load_subset("full", DATASET).pairs}
    scripts = demo_dataset() / "scripts"
    for pair in pairs:
        folder = scripts / pair.repo / f"task{pair.task_id}" / pair.key
        assert sorted(path.name for path in folder.iterdir()) == ["agent1.sh", "agent2.sh"]


def test_the_demo_shows_every_kind_of_outcome() -> None:
    for name in ("expected.json", "expected-gold.json"):
        shown = {(each["passed"], each["merge"]) for each in expectations(name).values()}
        assert shown == {(True, "clean"), (False, "clean"), (False, "conflicts")}


def test_agents_avoid_conflicts_that_the_gold_patches_have() -> None:
    gold = expectations("expected-gold.json")
    avoided = [
        name
        for name, each in expectations("expected.json").items()
        if each["passed"] and gold[name]["merge"] == "conflicts"
    ]
    assert len(avoided) == 3


def test_building_twice_gives_the_same_commit(host: HostTask, tmp_path: Path) -> None:
    again = HostTask(host.task, tmp_path / "again")
    assert host.git("rev-parse", "HEAD") == again.git("rev-parse", "HEAD")
    assert host.git("status", "--porcelain") == b""
    assert host.git("rev-list", "--all", "--count").strip() == b"1"


def test_gold_passes_and_nothing_fails(host: HostTask) -> None:
    combined = (host.task.path / "combined.patch").read_bytes()
    for feature in host.task.features.values():
        passed, log = host.run_tests(feature.tests_patch, feature.gold_patch)
        assert passed, (feature.number, log)
        found = counts(log.encode())
        assert found.consistent, (found, log)
        assert found.passed == found.total > 4, (found, log)
        passed, log = host.run_tests(feature.tests_patch, combined)
        assert passed, (feature.number, log)
        assert not host.run_tests(feature.tests_patch, b"")[0], feature.number


def test_gold_pairs_end_as_expected(host: HostTask) -> None:
    features = host.task.features
    expected = expectations("expected-gold.json")
    for pair in (p for p in load_subset("full", DATASET).pairs if p.repo == host.task.repo):
        first, second = pair.features
        patches = features[first].gold_patch, features[second].gold_patch
        assert host.outcome((first, second), patches) == expected[pair.name], pair.name


def test_recorded_agents_end_as_expected(host: HostTask) -> None:
    expected = expectations("expected.json")
    for pair in (p for p in load_subset("demo", DATASET).pairs if p.repo == host.task.repo):
        first, second = pair.features
        assert host.outcome((first, second), host.run_agents(pair.key, True)) == expected[pair.name], (
            pair.name
        )


def test_without_messages_the_agents_collide_as_gold_does(host: HostTask) -> None:
    gold = expectations("expected-gold.json")
    for pair in (p for p in load_subset("demo", DATASET).pairs if p.repo == host.task.repo):
        first, second = pair.features
        assert host.outcome((first, second), host.run_agents(pair.key, False)) == gold[pair.name], pair.name
