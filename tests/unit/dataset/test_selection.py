"""Which trials a selection leaves, and what is said when it leaves none."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cooperbench.dataset import Dataset, Pair, discover_tasks, load_dataset, load_subset, select, subset_names
from cooperbench.errors import DatasetError, UsageError
from tests.unit.dataset import trees


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    root = tmp_path_factory.mktemp("selection")
    trees.write(root, {"go_chi_task": {0: 3, 26: 4}, "one_task": {5: 1}, "ab_task": {0: 2}})
    trees.subset(root, "some", [("go_chi_task", 26, [[4, 3], [2, 1]]), ("go_chi_task", 0, [[1, 2, 3]])])
    trees.subset(root, "single", [("one_task", 5, [[1]])])
    return load_dataset(root)


def names(pairs: list[Pair]) -> list[str]:
    return [pair.name for pair in pairs]


def test_all_pairs_ascending(dataset: Dataset) -> None:
    assert names(select(dataset)) == [
        "ab_task/0/1,2",
        *(f"go_chi_task/0/{two}" for two in ("1,2", "1,3", "2,3")),
        *(f"go_chi_task/26/{two}" for two in ("1,2", "1,3", "1,4", "2,3", "2,4", "3,4")),
    ]


def test_task_zero_is_a_task(dataset: Dataset) -> None:
    assert len(select(dataset, task_id=0)) == 4
    assert len(select(dataset, repo="go_chi_task", task_id=0)) == 3


def test_the_order_of_features_means_nothing(dataset: Dataset) -> None:
    for features in ([1, 3], [3, 1], (3, 1)):
        found = select(dataset, repo="go_chi_task", task_id=26, features=features)
        assert found == [Pair("go_chi_task", 26, (1, 3))]


def test_any_number_of_features_that_the_setting_allows(dataset: Dataset) -> None:
    assert select(dataset, features=[4, 2, 1, 3]) == [Pair("go_chi_task", 26, (1, 2, 3, 4))]
    assert names(select(dataset, repo="one_task", features=[1], setting="solo")) == ["one_task/5/1"]
    assert len(select(dataset, features=[1], setting="solo")) == 4


def test_features_select_every_task_that_has_them(dataset: Dataset) -> None:
    assert names(select(dataset, features=[3, 2])) == ["go_chi_task/0/2,3", "go_chi_task/26/2,3"]


@pytest.mark.parametrize(
    ("filters", "complaint"),
    [
        ({"features": [1]}, "coop needs at least 2 features; 1 feature given"),
        ({"features": [1], "setting": "team"}, "team needs at least 2 features"),
        ({"features": []}, "coop needs at least 2 features; 0 features given"),
        ({"features": [], "setting": "solo"}, "solo needs at least 1 feature; 0 features given"),
        ({"features": [1, 1]}, "feature 1 is given more than once"),
        ({"features": [2, 1, 2, 1]}, "feature 1, 2 is given more than once"),
        ({"features": ["1", "2"]}, "features are whole numbers"),
        ({"features": "12"}, "features are whole numbers"),
        ({"features": [True, 2]}, "features are whole numbers"),
        (
            {"features": [1, 9], "repo": "go_chi_task", "task_id": 0},
            r"no task selected has features 1,9: go_chi_task/0 has 1, 2, 3$",
        ),
        ({"task_id": 99}, r"no task 99 .*tasks: ab_task/0, go_chi_task/0, go_chi_task/26, one_task/5$"),
        ({"task_id": 99, "repo": "go_chi_task"}, r"no task 99 of go_chi_task .*tasks of go_chi_task: 0, 26$"),
        ({"task_id": -1}, "no task -1"),
        (
            {"repo": "go_chy_task"},
            r"\(did you mean 'go_chi_task'\?\); repositories: ab_task, go_chi_task, one_task",
        ),
        (
            {"subset": "fewer"},
            r"subset 'fewer' not found \(did you mean 'few'\?\); subsets of .*: few, full, single",
        ),
        ({"subset": "../subsets/few"}, "not found"),
        (
            {"setting": "cooop"},
            r"unknown setting 'cooop' \(did you mean 'coop'\?\); settings: solo, coop, team",
        ),
        ({"repo": "one_task"}, "nothing to run: one_task/5 has fewer than two features"),
        (
            {"subset": "some", "repo": "ab_task"},
            "subset 'some' holds no pair of ab_task/0; its tasks: go_chi_task/0, go_chi_task/26",
        ),
        (
            {"subset": "some", "task_id": 26, "features": [1, 3]},
            r"does not hold features 1,3 there; it holds go_chi_task/26/1,2, go_chi_task/26/3,4$",
        ),
        ({"subset": "single"}, "coop needs at least 2 features; subset 'single' has one_task/5/1"),
    ],
)
def test_what_cannot_be_selected_says_what_exists(
    dataset: Dataset, filters: dict[str, Any], complaint: str
) -> None:
    with pytest.raises(UsageError, match=complaint) as caught:
        select(dataset, **filters)
    assert "\n" not in str(caught.value)


def test_a_subset_is_sorted_whatever_its_file_says(dataset: Dataset) -> None:
    subset = load_subset("some", dataset)
    assert (subset.name, subset.description) == ("some", "about some")
    assert names(list(subset.pairs)) == ["go_chi_task/0/1,2,3", "go_chi_task/26/1,2", "go_chi_task/26/3,4"]


def test_filters_and_a_subset_intersect(dataset: Dataset) -> None:
    assert names(select(dataset, subset="some", task_id=26)) == ["go_chi_task/26/1,2", "go_chi_task/26/3,4"]
    assert names(select(dataset, subset="some", features=[2, 1])) == ["go_chi_task/26/1,2"]
    assert names(select(dataset, subset="single", setting="solo")) == ["one_task/5/1"]


def test_full_is_every_pair_and_no_file(dataset: Dataset) -> None:
    assert list(load_subset("full", dataset).pairs) == select(dataset)
    assert subset_names(dataset) == ["few", "full", "single", "some"]


def test_a_dataset_without_subsets_has_full(tmp_path: Path) -> None:
    trees.feature(tmp_path / "a_task" / "task1", 1)
    trees.feature(tmp_path / "a_task" / "task1", 2)
    assert names(select(load_dataset(tmp_path), subset="full")) == ["a_task/1/1,2"]


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ("{", "cannot be read as JSON"),
        ("[]", r"is not a subset: expected \{\"tasks\""),
        ('{"tasks": {}}', "lists no pair"),
        ('{"tasks": []}', "lists no pair"),
        ('{"tasks": [{"repo": "a_task", "task_id": "1", "pairs": [[1, 2]]}]}', "whole numbers"),
        ('{"tasks": [{"repo": "a_task", "task_id": 1}]}', r"KeyError: 'pairs'"),
        ('{"tasks": [{"repo": "a_task", "task_id": 1, "pairs": [1]}]}', "is not a subset"),
        ('{"tasks": [{"repo": "a_task", "task_id": 2, "pairs": [[1, 2]]}]}', "names task a_task/2, which"),
        (
            '{"tasks": [{"repo": "a_task", "task_id": 1, "pairs": [[1, 4]]}]}',
            "no feature 4; a_task/1 has 1, 2, 3",
        ),
        (
            '{"tasks": [{"repo": "a_task", "task_id": 1, "pairs": [[1, 2], [2, 1]]}]}',
            "a_task/1/1,2 is listed twice",
        ),
        ('{"tasks": [{"repo": "a_task", "task_id": 1, "pairs": [[1, 1]]}]}', "repeats a feature"),
        ('{"tasks": [{"repo": "a_task", "task_id": 1, "pairs": [[]]}]}', "is empty"),
    ],
)
def test_a_damaged_subset_names_its_file(tmp_path: Path, content: str, complaint: str) -> None:
    trees.write(tmp_path, {"a_task": {1: 3}})
    (tmp_path / "subsets" / "bad.json").write_text(content)
    with pytest.raises(DatasetError, match=complaint) as caught:
        load_subset("bad", load_dataset(tmp_path))
    assert str(tmp_path / "subsets" / "bad.json") in str(caught.value)
    assert "\n" not in str(caught.value)


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5) | st.just("a_task"),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["tasks", "repo", "task_id", "pairs", "name"]), inner, max_size=4)
    ),
    max_leaves=12,
)


@given(_JSON)
def test_no_json_breaks_the_reader_of_subsets(dataset: Dataset, content: Any) -> None:
    path = dataset.root / "subsets" / "random.json"
    path.write_text(json.dumps(content))
    with contextlib.suppress(DatasetError):
        assert load_subset("random", dataset).pairs
    path.unlink()


def test_discover_tasks_gives_dictionaries(dataset: Dataset) -> None:
    found = discover_tasks(subset="some", task_filter=0, dataset_dir=dataset.root)
    assert found == [{"repo": "go_chi_task", "task_id": 0, "features": [1, 2, 3]}]
    assert discover_tasks("few", "go_chi_task", 0, [2, 1], str(dataset.root))[0]["features"] == [1, 2]
    assert len(discover_tasks(dataset_dir=dataset.root)) == 10
    assert discover_tasks(repo_filter="one_task", features_filter=[1], dataset_dir=dataset.root)
