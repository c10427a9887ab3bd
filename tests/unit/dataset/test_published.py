"""The published dataset: its counts, and that every word of its selection works."""

from __future__ import annotations

import pytest

from cooperbench.dataset import Dataset, discover_tasks, load_subset, select
from cooperbench.dataset.manifest import Counts, count
from cooperbench.dataset.prepare import PUBLISHED, PUBLISHED_TASKS
from cooperbench.errors import UsageError


def test_its_counts(real_dataset: Dataset) -> None:
    assert count(real_dataset) == PUBLISHED == Counts(30, 199, 652)
    assert {
        (repo, each) for repo, ids in PUBLISHED_TASKS.items() for each in ids
    } == real_dataset.tasks.keys()


@pytest.mark.parametrize(
    ("name", "tasks", "pairs"), [("full", 30, 652), ("lite", 26, 100), ("flash", 20, 50)]
)
def test_its_subsets(real_dataset: Dataset, name: str, tasks: int, pairs: int) -> None:
    subset = load_subset(name, real_dataset)
    assert len(subset.pairs) == len(set(subset.pairs)) == pairs
    assert len({(pair.repo, pair.task_id) for pair in subset.pairs}) == tasks
    assert list(subset.pairs) == sorted(subset.pairs)
    assert len(discover_tasks(subset=name, dataset_dir=real_dataset.root)) == pairs


def test_task_zero_has_45_pairs(real_dataset: Dataset) -> None:
    pairs = select(real_dataset, task_id=0)
    assert len(pairs) == 45
    assert {pair.repo for pair in pairs} == {"openai_tiktoken_task"}


def test_one_feature_is_refused_in_coop_and_taken_in_solo(real_dataset: Dataset) -> None:
    with pytest.raises(UsageError, match="coop needs at least 2 features"):
        select(real_dataset, repo="typst_task", features=[1])
    assert len(select(real_dataset, repo="typst_task", features=[1], setting="solo")) == 1


def test_features_of_tasks_with_two_digits_are_in_numeric_order(real_dataset: Dataset) -> None:
    assert list(real_dataset.task("pallets_click_task", 2068).features) == list(range(1, 13))
