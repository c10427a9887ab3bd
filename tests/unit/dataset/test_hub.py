"""The download from the Hub: the real client library against a loopback server."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from cooperbench.dataset import hub, load_dataset
from cooperbench.dataset import prepare as prepare_module
from cooperbench.dataset.manifest import Counts
from cooperbench.dataset.prepare import prepare, verify
from cooperbench.errors import DatasetError
from tests.unit.dataset import hub_server, trees

if os.environ.get("CI") != "true":
    pytest.importorskip("huggingface_hub", reason="needs the extra `hub`")


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[hub_server.Hub]:
    root = trees.write(tmp_path / "served", {"go_chi_task": {26: 3, 27: 4}, "dspy_task": {8394: 5}})
    (root / "README.md").write_text("about\n")
    (root / "dspy_task" / "task8394" / "large.bin").write_bytes(bytes(range(256)) * 100)
    # What stands for the published dataset here is smaller than that.
    monkeypatch.setattr(prepare_module, "PUBLISHED", Counts(tasks=3, features=12, pairs=19))
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    with hub_server.serve(hub.REPOSITORY, root) as running:
        monkeypatch.setenv("HF_ENDPOINT", running.url)
        yield running


def test_the_published_dataset_arrives_whole(server: hub_server.Hub, tmp_path: Path) -> None:
    said: list[str] = []
    place = tmp_path / "work" / "dataset"
    made = prepare(place, progress=said.append)
    assert made.fresh
    assert made.source == f"hub {hub.REPOSITORY}@{hub_server.COMMIT}"
    assert made.counts == Counts(3, 12, 19)
    assert verify(place) == []
    assert sorted(path.name for path in place.iterdir()) == [
        "README.md",
        "dataset.lock.json",
        "dataset.toml",
        "dspy_task",
        "go_chi_task",
        "subsets",
    ]
    assert load_dataset(place).task("go_chi_task", 26).image == "akhatua/cooperbench-go-chi:task26"
    assert load_dataset(place).task("go_chi_task", 26).network == "open"
    assert any(hub.REPOSITORY in line for line in said)
    assert "Bearer hf_secret" in server.tokens
    assert sorted(path.name for path in place.parent.iterdir()) == [".dataset.lock", "dataset"]
    served = len(server.served)
    assert not prepare(place).fresh
    assert len(server.served) == served


def test_a_killed_download_goes_on_where_it_ended(server: hub_server.Hub, tmp_path: Path) -> None:
    place = tmp_path / "dataset"
    server.stall_after = 25
    program = "import sys; from cooperbench.dataset.prepare import prepare; prepare(sys.argv[1])"
    with subprocess.Popen([sys.executable, "-c", program, str(place)]) as process:
        assert server.stalled.wait(60)
        process.kill()
    assert not place.exists()
    first = set(server.served)
    assert len(first) == 25
    server.stall_after = None
    server.served.clear()
    made = prepare(place)
    assert made.fresh
    assert verify(place) == []
    # What was on its way when the process died comes again, in each of the library's eight threads.
    assert len(first & set(server.served)) <= 8
    assert len(first | set(server.served)) == made.files


def test_what_the_hub_no_longer_lists_is_not_kept(server: hub_server.Hub, tmp_path: Path) -> None:
    place = tmp_path / "dataset"
    server.damage = "go_chi_task/task26/feature1/feature.patch"
    with pytest.raises(DatasetError):
        prepare(place)
    stale = next((tmp_path / ".dataset.staging" / "tree").glob("*_task"))
    (stale / "stale.txt").write_text("from an earlier commit\n")
    server.damage = None
    prepare(place)
    assert list(place.rglob("stale.txt")) == []


def test_a_file_that_arrives_damaged_is_found_and_fetched_again(
    server: hub_server.Hub, tmp_path: Path
) -> None:
    place = tmp_path / "dataset"
    server.damage = "go_chi_task/task26/feature1/feature.patch"
    with pytest.raises(DatasetError, match=r"task26/feature1/feature\.patch arrived damaged; run it again"):
        prepare(place)
    assert not place.exists()
    server.damage = None
    assert prepare(place).fresh


def test_another_number_of_tasks_than_published_is_an_error(server: hub_server.Hub, tmp_path: Path) -> None:
    (server.root / "go_chi_task" / "task27" / "feature4" / "feature.md").unlink()
    (server.root / "go_chi_task" / "task27" / "feature4" / "feature.patch").unlink()
    (server.root / "go_chi_task" / "task27" / "feature4" / "tests.patch").unlink()
    (server.root / "go_chi_task" / "task27" / "feature4").rmdir()
    with pytest.raises(DatasetError, match="holds 3 tasks, 11 features, 16 pairs; the published dataset has"):
        prepare(tmp_path / "dataset")
    assert not (tmp_path / "dataset").exists()


def test_no_connection_is_one_line_with_a_remedy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    with pytest.raises(DatasetError, match=r"cannot download .* or give a copy with --from") as caught:
        prepare(tmp_path / "dataset")
    assert "\n" not in str(caught.value)


def test_an_unknown_repository_is_one_line_with_a_remedy(server: hub_server.Hub, tmp_path: Path) -> None:
    server.repository = "somebody/else"
    with pytest.raises(DatasetError, match=r"cannot download .*HF_TOKEN") as caught:
        prepare(tmp_path / "dataset")
    assert "\n" not in str(caught.value)
