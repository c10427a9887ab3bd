"""Putting a dataset in place from what is at hand, against hostile archives, strangers' files and sudden death."""

from __future__ import annotations

import io
import os
import random
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from cooperbench import atomic
from cooperbench.dataset import load_dataset, sources
from cooperbench.dataset import prepare as prepare_module
from cooperbench.dataset.manifest import Counts
from cooperbench.dataset.prepare import prepare, verify
from cooperbench.errors import DatasetError, MissingExtra, RunConflict
from tests.unit.dataset import trees


@pytest.fixture
def origin(tmp_path: Path) -> Path:
    root = trees.write(tmp_path / "origin", {"mine_task": {1: 3}})
    script = root / "mine_task" / "task1" / "runner.sh"
    script.write_text("#!/bin/sh\n")
    script.chmod(0o750)
    return root


@pytest.fixture
def place(tmp_path: Path) -> Path:
    return tmp_path / "work" / "dataset"


def archive(path: Path, origin: Path, mode: str = "w:gz", under: str = ".") -> Path:
    with tarfile.open(path, mode) as tar:  # type: ignore[call-overload]
        tar.add(origin, arcname=under)
    return path


def repository(origin: Path) -> str:
    git = ["git", "-C", str(origin), "-c", "user.name=a", "-c", "user.email=a@example.invalid"]
    for argv in (["init", "-q"], ["add", "-A"], ["commit", "-qm", "all"]):
        subprocess.run([*git, *argv], check=True)
    return origin.as_uri()


def contents(root: Path) -> dict[str, bytes]:
    paths = (path for path in root.rglob("*") if path.is_file() and path.name != "dataset.lock.json")
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in paths}


# ---------------------------------------------------------------------------------------------- sources


def test_from_a_directory(origin: Path, place: Path) -> None:
    (origin / ".cache").mkdir()
    expected = contents(origin)
    made = prepare(place, str(origin))
    assert contents(place) == expected
    assert (made.root, made.fresh, made.counts) == (place, True, Counts(1, 3, 3))
    assert made.files == len(expected)
    assert made.source == f"directory {origin}"
    assert os.access(place / "mine_task" / "task1" / "runner.sh", os.X_OK)
    assert verify(place) == []
    assert sorted(os.listdir(place.parent)) == [".dataset.lock", "dataset"]


@pytest.mark.parametrize(("name", "mode"), [("a.tar", "w"), ("a.tgz", "w:gz"), ("a.tar.xz", "w:xz")])
@pytest.mark.parametrize("under", [".", "cooperbench-dataset-1.0", "deep/down/here"])
def test_from_an_archive(origin: Path, place: Path, tmp_path: Path, name: str, mode: str, under: str) -> None:
    packed = archive(tmp_path / name, origin, mode, under)
    made = prepare(place, str(packed))
    assert contents(place) == contents(origin)
    assert made.source == f"archive {packed}"


def test_from_a_git_url(origin: Path, place: Path) -> None:
    expected = contents(origin)
    made = prepare(place, repository(origin))
    assert contents(place) == expected
    assert made.source.startswith(f"git {origin.as_uri()}@")
    assert not (place / ".git").exists()
    assert not prepare(place, origin.as_uri()).fresh


def test_the_same_files_have_the_same_digest_wherever_they_come_from(origin: Path, tmp_path: Path) -> None:
    packed = archive(tmp_path / "a.tar", origin, "w")
    url = repository(origin)
    digests = {
        prepare(tmp_path / f"d{n}", each).digest for n, each in enumerate((str(origin), str(packed), url))
    }
    assert len(digests) == 1


def test_files_that_are_links_are_copied_directories_that_are_links_refused(
    origin: Path, place: Path, tmp_path: Path
) -> None:
    patch = origin / "mine_task" / "task1" / "feature1" / "feature.patch"
    patch.rename(tmp_path / "blob")
    patch.symlink_to(tmp_path / "blob")
    prepare(place, str(origin))
    copied = place / patch.relative_to(origin)
    assert not copied.is_symlink()
    assert copied.read_bytes() == patch.read_bytes()
    (origin / "loop").symlink_to(origin, target_is_directory=True)
    with pytest.raises(DatasetError, match="loop is a link to a directory"):
        prepare(place, str(origin), force=True)
    assert verify(place) == []


def test_a_link_in_a_repository_does_not_reach_into_this_machine(
    origin: Path, place: Path, tmp_path: Path
) -> None:
    (tmp_path / "secret").write_text("secret of this machine\n")
    (origin / "mine_task" / "task1" / "notes").symlink_to(tmp_path / "secret")
    prepare(place, repository(origin))
    notes = place / "mine_task" / "task1" / "notes"
    assert not notes.is_symlink()
    assert "secret of" not in notes.read_text()


@pytest.mark.parametrize(
    ("source", "complaint"),
    [
        ("nowhere", "no such directory or file, and not a git URL"),
        ("file:///nowhere/at/all", "git clone failed: "),
        ("https://example.invalid/dataset.tar.gz", "archives are not downloaded"),
    ],
)
def test_sources_that_are_none(place: Path, source: str, complaint: str) -> None:
    with pytest.raises(DatasetError, match=complaint) as caught:
        prepare(place, source)
    assert "\n" not in str(caught.value)
    assert not place.exists()


def test_a_source_that_is_no_dataset(tmp_path: Path, place: Path) -> None:
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "file").touch()
    with pytest.raises(DatasetError, match="holds no <repo>_task") as caught:
        prepare(place, str(tmp_path / "other"))
    assert str(tmp_path / "other") in str(caught.value)
    assert "staging" not in str(caught.value)
    assert not place.exists()


def test_a_source_around_the_destination(origin: Path) -> None:
    with pytest.raises(DatasetError, match="holds the destination itself"):
        prepare(origin / "below" / "dataset", str(origin))


# ---------------------------------------------------------------------------------------------- hostile archives


def member(
    name: str, kind: bytes = tarfile.REGTYPE, link: str = "", content: bytes = b"x"
) -> tarfile.TarInfo:
    entry = tarfile.TarInfo(name)
    entry.type = kind
    entry.linkname = link
    entry.size = len(content) if kind == tarfile.REGTYPE else 0
    return entry


@pytest.mark.parametrize(
    ("entry", "complaint"),
    [
        (member("../escaped"), "lies outside the archive"),
        (member("mine_task/../../escaped"), "lies outside the archive"),
        (member("/tmp/escaped"), "lies outside the archive"),
        (member("link", tarfile.SYMTYPE, "/etc/passwd"), "neither a file nor a directory"),
        (member("mine_task", tarfile.SYMTYPE, "/tmp"), "neither a file nor a directory"),
        (member("hard", tarfile.LNKTYPE, "/etc/passwd"), "neither a file nor a directory"),
        (member("device", tarfile.CHRTYPE), "neither a file nor a directory"),
        (member("block", tarfile.BLKTYPE), "neither a file nor a directory"),
        (member("pipe", tarfile.FIFOTYPE), "neither a file nor a directory"),
    ],
)
def test_members_that_no_dataset_has(
    tmp_path: Path, place: Path, entry: tarfile.TarInfo, complaint: str
) -> None:
    with tarfile.open(tmp_path / "bad.tar", "w") as tar:
        tar.addfile(entry, io.BytesIO(b"x"))
    with pytest.raises(DatasetError, match=complaint):
        prepare(place, str(tmp_path / "bad.tar"))
    assert not place.exists()
    assert not list(tmp_path.rglob("escaped"))


def test_an_archive_that_is_cut_off_or_none(tmp_path: Path, place: Path, origin: Path) -> None:
    whole = archive(tmp_path / "a.tgz", origin).read_bytes()
    for name, content in (
        ("cut.tgz", whole[: len(whole) // 2]),
        ("text.tar", b"no archive"),
        ("empty.tar", b""),
    ):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(DatasetError, match=name):
            prepare(place, str(tmp_path / name))
    assert not place.exists()


def test_an_archive_that_is_too_large(
    tmp_path: Path, place: Path, origin: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    packed = archive(tmp_path / "a.tar", origin, "w")
    monkeypatch.setattr(sources, "MOST_BYTES", 100)
    with pytest.raises(DatasetError, match="unpacks to more than 100 bytes"):
        prepare(place, str(packed))
    monkeypatch.setattr(sources, "MOST_BYTES", 1 << 20)
    monkeypatch.setattr(sources, "MOST_MEMBERS", 3)
    with pytest.raises(DatasetError, match="more than 3 members"):
        prepare(place, str(packed))


# ---------------------------------------------------------------------------------------------- what is there already


def test_a_second_call_finds_it_in_place(origin: Path, place: Path) -> None:
    first = prepare(place, str(origin))
    second = prepare(place, str(origin))
    assert (first.fresh, second.fresh) == (True, False)
    assert first.digest == second.digest


def test_settings_are_the_users_to_edit(origin: Path, place: Path) -> None:
    prepare(place, str(origin))
    (place / "dataset.toml").write_text('registry = "mirror.example"\n')
    assert verify(place) == []
    assert not prepare(place, str(origin)).fresh


def test_damage_is_named_and_force_repairs_it(origin: Path, place: Path) -> None:
    prepare(place, str(origin))
    task = place / "mine_task" / "task1"
    (task / "feature1" / "feature.patch").write_text("changed\n")
    (task / "feature2" / "tests.patch").unlink()
    (task / "more").touch()
    assert verify(place) == [
        "mine_task/task1/feature2/tests.patch is missing",
        "mine_task/task1/feature1/feature.patch was changed",
        "mine_task/task1/more was added",
    ]
    with pytest.raises(DatasetError, match=r"tests\.patch is missing and 2 more; use --force"):
        prepare(place, str(origin))
    assert prepare(place, str(origin), force=True).fresh
    assert verify(place) == []


def test_another_source_needs_force(origin: Path, place: Path, tmp_path: Path) -> None:
    prepare(place, str(origin))
    packed = archive(tmp_path / "a.tar", origin, "w")
    with pytest.raises(DatasetError, match=f"was made from directory {origin}; use --force"):
        prepare(place, str(packed))
    assert prepare(place, str(packed), force=True).source == f"archive {packed}"


def test_what_prepare_did_not_make_is_left_alone(origin: Path, place: Path) -> None:
    trees.write(place, {"old_task": {1: 2}})
    with pytest.raises(DatasetError, match="was not made by prepare; use --force"):
        prepare(place, str(origin))
    assert "old_task" in os.listdir(place)
    prepare(place, str(origin), force=True)
    assert "old_task" not in os.listdir(place)


def test_force_does_not_replace_what_is_no_dataset(origin: Path, tmp_path: Path) -> None:
    home = tmp_path / "home"
    (home / "documents").mkdir(parents=True)
    with pytest.raises(DatasetError, match="holds something that is not a dataset"):
        prepare(home, str(origin), force=True)
    (tmp_path / "file").write_text("mine\n")
    with pytest.raises(DatasetError, match="is a file"):
        prepare(tmp_path / "file", str(origin), force=True)
    assert (tmp_path / "file").read_text() == "mine\n"
    assert (home / "documents").is_dir()


def test_an_empty_directory_is_filled(origin: Path, place: Path) -> None:
    place.mkdir(parents=True)
    assert prepare(place, str(origin)).fresh


def test_a_linked_destination_is_filled_where_it_points(origin: Path, place: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(place)
    prepare(tmp_path / "link", str(origin))
    assert (tmp_path / "link").is_symlink()
    assert load_dataset(place).tasks


def test_two_at_once_do_not_interleave(origin: Path, place: Path) -> None:
    place.parent.mkdir()
    with (
        atomic.locked(place.parent / ".dataset.lock", "busy"),
        pytest.raises(RunConflict, match="at work on"),
    ):
        prepare(place, str(origin))


def test_published_tasks_get_the_settings_of_their_publisher(tmp_path: Path, place: Path) -> None:
    published = trees.write(tmp_path / "published", {"go_chi_task": {26: 2}})
    prepare(place, str(published))
    task = load_dataset(place).task("go_chi_task", 26)
    assert (task.image, task.network) == ("akhatua/cooperbench-go-chi:task26", "open")
    (published / "dataset.toml").write_text('image = "own:{task_id}"\n')
    prepare(place, str(published), force=True)
    assert load_dataset(place).task("go_chi_task", 26).image == "own:26"


def test_other_tasks_do_not(origin: Path, place: Path) -> None:
    prepare(place, str(origin))
    assert not (place / "dataset.toml").exists()


def test_without_the_client_library_the_extra_is_named(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "huggingface_hub.errors", None)
    with pytest.raises(MissingExtra, match=r"pip install 'cooperbench\[hub\]'"):
        prepare(place)


# ---------------------------------------------------------------------------------------------- sudden death


def test_killed_at_any_instant_there_is_the_old_one_or_the_new_one(
    origin: Path, place: Path, tmp_path: Path
) -> None:
    other = trees.write(tmp_path / "other", {"theirs_task": dict.fromkeys(range(20), 4)})
    prepare(place, str(origin))
    program = (
        "import sys; from cooperbench.dataset.prepare import prepare\n"
        "print('go', flush=True)\n"
        "while True:\n"
        "    for source in sys.argv[2:]: prepare(sys.argv[1], source, force=True)\n"
    )
    random.seed(7)
    for _ in range(8):
        argv = [sys.executable, "-c", program, str(place), str(other), str(origin)]
        with subprocess.Popen(argv, stdout=subprocess.PIPE) as process:
            assert process.stdout is not None
            process.stdout.readline()
            try:
                process.wait(random.uniform(0.0, 0.15))
            except subprocess.TimeoutExpired:
                process.kill()
        assert process.returncode == -9
        assert verify(place) == []
    assert prepare(place, str(origin), force=True).fresh
    assert sorted(os.listdir(place.parent)) == [".dataset.lock", "dataset"]


def test_where_names_cannot_be_exchanged_the_next_call_completes_the_swap(
    origin: Path, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prepare_module, "_exchange", lambda *_: False)
    prepare(place, str(origin))
    prepare(place, str(origin), force=True)
    assert sorted(os.listdir(place.parent)) == [".dataset.lock", "dataset"]
    place.rename(place.with_name(".dataset.old"))  # as after a death between the two renames
    assert not prepare(place, str(origin)).fresh
    assert verify(place) == []
