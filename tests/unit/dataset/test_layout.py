"""What is read from a dataset's directory, and how each kind of damage is named."""

from __future__ import annotations

import contextlib
import shutil
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cooperbench.dataset import Dataset, load_dataset, model
from cooperbench.dataset.layout import read_settings
from cooperbench.errors import DatasetError
from tests.unit.dataset import trees


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return trees.write(tmp_path / "data", {"go_chi_task": {0: 11, 26: 2}, "ab_cd_task": {7: 3}})


def test_tasks_and_features_in_the_order_of_their_numbers(root: Path) -> None:
    dataset = load_dataset(root)
    assert list(dataset.tasks) == [("ab_cd_task", 7), ("go_chi_task", 0), ("go_chi_task", 26)]
    task = dataset.task("go_chi_task", 0)
    assert list(task.features) == list(range(1, 12))
    assert task.image == "cooperbench/go_chi_task:task0"
    assert (task.network, task.recipe) == (None, None)


def test_patches_come_byte_for_byte(root: Path) -> None:
    feature = load_dataset(root).task("go_chi_task", 0).features[1]
    assert feature.gold_patch == b"feature.patch of task0 1\r\n \n"
    assert feature.tests_patch == b"tests.patch of task0 1\r\n \n"
    (feature.path / "feature.md").write_bytes(b"caf\xe9\n")
    assert feature.specification == "caf\ufffd\n"


@pytest.mark.parametrize("settled", [10**9, -(10**18)], ids=["read anew", "remembered"])
def test_what_a_feature_says_is_what_is_on_disk_now(
    root: Path, settled: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(model, "_SETTLED", settled)
    feature = load_dataset(root).task("go_chi_task", 26).features[1]
    for text in ("first\n", "other\n", "longer than it was\n" * 20_000):  # the second of the first's size
        for name in ("feature.md", "tests.patch"):  # another file of that name, as every editor leaves one
            (feature.path / "new").write_text(text)
            (feature.path / "new").replace(feature.path / name)
        assert (feature.specification, feature.tests_patch) == (text, text.encode())
    (feature.path / "feature.md").write_bytes(b"a\r\nb\rc\xff\n")
    assert feature.specification == "a\nb\nc\ufffd\n"
    assert feature.specification == (feature.path / "feature.md").read_text("utf-8", errors="replace")


def test_the_default_place_is_dataset_in_the_working_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DatasetError, match=r"no dataset: dataset does not exist; run `cooperbench prepare`"):
        load_dataset()
    trees.write(tmp_path / "dataset", {"go_chi_task": {1: 2}})
    assert len(load_dataset().tasks) == 1


def test_a_file_or_an_empty_directory_is_no_dataset(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(DatasetError, match="is not a directory; run `cooperbench prepare`"):
        load_dataset(tmp_path / "file")
    with pytest.raises(
        DatasetError, match="holds no <repo>_task/task<ID> directory; run `cooperbench prepare`"
    ):
        load_dataset(tmp_path)


def test_other_files_and_directories_are_passed_over(root: Path) -> None:
    (root / "README.md").touch()
    (root / ".cache" / "task1").mkdir(parents=True)
    (root / "results" / "more").mkdir(parents=True)
    (root / "go_chi_task" / "notes.txt").touch()
    (root / "go_chi_task" / ".DS_Store").touch()
    (root / "go_chi_task" / "task26" / "feature_overview.md").touch()
    (root / "go_chi_task" / "task26" / "repo").mkdir()
    (root / "go_chi_task" / "task26" / "feature1" / "feature.filtered.patch").touch()
    assert len(load_dataset(root).tasks) == 3


@pytest.mark.parametrize("name", ["task_foo", "task", "task007", "Task7", "task-1", "task1.bak"])
def test_a_directory_that_is_no_task(root: Path, name: str) -> None:
    (root / "go_chi_task" / name).mkdir()
    with pytest.raises(DatasetError, match=rf"go_chi_task/{name}: a task's directory is named task<ID>"):
        load_dataset(root)


@pytest.mark.parametrize("name", ["feature", "feature0", "feature01", "feature_1", "feature1 copy"])
def test_a_directory_that_is_no_feature(root: Path, name: str) -> None:
    (root / "go_chi_task" / "task26" / name).mkdir()
    with pytest.raises(DatasetError, match=f"task26/{name}: a feature's directory is named feature<N>"):
        load_dataset(root)


@pytest.mark.parametrize("name", ["feature.md", "feature.patch", "tests.patch"])
def test_a_feature_is_complete(root: Path, name: str) -> None:
    path = root / "go_chi_task" / "task26" / "feature2" / name
    path.unlink()
    with pytest.raises(DatasetError, match=f"task26/feature2/{name} is missing; .*prepare --force"):
        load_dataset(root)
    path.touch()
    with pytest.raises(DatasetError, match=f"task26/feature2/{name} is empty; .*prepare --force"):
        load_dataset(root)


def test_a_task_has_features(root: Path) -> None:
    for feature in (root / "go_chi_task" / "task26").iterdir():
        shutil.rmtree(feature)
    with pytest.raises(DatasetError, match=r"task26 holds no feature<N> directory"):
        load_dataset(root)


def test_a_repository_without_its_suffix(root: Path) -> None:
    (root / "go_chi_task").rename(root / "go_chi")
    with pytest.raises(DatasetError, match=r"rename it to go_chi_task$"):
        load_dataset(root)


def test_an_unknown_task_is_named_with_those_that_exist(root: Path) -> None:
    dataset = load_dataset(root)
    with pytest.raises(DatasetError, match=r"no task go_chi_task/5 .*its tasks are 0, 26"):
        dataset.task("go_chi_task", 5)
    with pytest.raises(DatasetError, match=r"repositories: ab_cd_task, go_chi_task"):
        dataset.task("chi", 5)


# ---------------------------------------------------------------------------------------------- dataset.toml


def settings(root: Path, text: str) -> Dataset:
    (root / "dataset.toml").write_text(text)
    return load_dataset(root)


def test_everything_a_dataset_may_say(root: Path) -> None:
    for task in ("go_chi_task/task0", "go_chi_task/task26", "ab_cd_task/task7"):
        (root / task / "make.sh").touch()
    text = """
        image = "acme/{slug}-{repo}:t{task_id}"
        registry = "mirror.example:5000/prefix/"
        network = "open"
        [recipe]
        base = "host"
        script = "make.sh"
        network = "host"
    """
    task = settings(root, text).task("ab_cd_task", 7)
    assert task.image == "mirror.example:5000/prefix/acme/ab-cd-ab_cd_task:t7"
    assert task.network == "open"
    assert task.recipe is not None
    assert (task.recipe.base, task.recipe.script, task.recipe.network) == ("host", "make.sh", "host")
    assert task.recipe.context == task.path


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("\nimage = 3 4", r"dataset\.toml is not valid TOML: .*line 2"),
        ("imgae = 'x'", r"unknown key imgae \(did you mean 'image'\?\); keys: image, registry"),
        ("image = 3", "image must be a non-empty string, not 3"),
        ("image = ' '", "image must be a non-empty string"),
        ("image = 'x:{tag}'", r"unknown placeholder \{tag\}; known: \{repo\}, \{slug\}, \{task_id\}"),
        ("image = 'x:{repo.__class__}'", "unknown placeholder"),
        ("image = 'x:{}'", "unknown placeholder"),
        ("image = 'x:{task_id!r}'", "unknown placeholder"),
        ("image = 'x:{task_id'", "image template"),
        ("registry = 'https://mirror.example'", "write host and prefix only"),
        ("network = 'closed'", "network is 'closed'; it can be none, open, host"),
        ("recipe = 'host'", r"recipe must be a table"),
        ("[recipe]\nscript = 'x.sh'", r"\[recipe\] needs base"),
        (
            "[recipe]\nbase = 'host'\nscirpt = 'x.sh'",
            r"unknown key recipe\.scirpt \(did you mean 'script'\?\)",
        ),
        ("[recipe]\nbase = 'host'\nscript = '../x.sh'", "it names a file inside each task's directory"),
        ("[recipe]\nbase = 'host'\nnetwork = 'no'", r"recipe\.network is 'no'"),
        ("[recipe]\nbase = 'host'", r"ab_cd_task/task7/build\.sh is missing; dataset\.toml names it"),
    ],
)
def test_settings_that_make_no_sense(root: Path, text: str, complaint: str) -> None:
    with pytest.raises(DatasetError, match=complaint) as caught:
        settings(root, text)
    assert "\n" not in str(caught.value)


@given(st.binary(max_size=200))
def test_no_bytes_break_the_reader_of_settings(
    tmp_path_factory: pytest.TempPathFactory, content: bytes
) -> None:
    path = tmp_path_factory.mktemp("settings") / "dataset.toml"
    path.write_bytes(content)
    with contextlib.suppress(DatasetError):
        assert read_settings(path).image_of("go_chi_task", 0)
