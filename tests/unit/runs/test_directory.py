"""A run's directory: names that cannot escape, one writer, every trial found again."""

from __future__ import annotations

import contextlib
import json
import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cooperbench.dataset.model import Pair
from cooperbench.errors import RunConflict, UsageError
from cooperbench.runs import RunDirectory, discover_runs

PAIR = Pair("repo_task", 0, (1, 2))
RESULT = {"agents": {}, "setting": "coop"}


@pytest.mark.parametrize(
    "name", ["", ".", "..", ".hidden", "a/b", "../x", "-n", "a b", "a\n", "a\0b", "x" * 201]
)
def test_a_run_name_is_one_directory(tmp_path: Path, name: str) -> None:
    with pytest.raises(UsageError, match="run name"):
        RunDirectory(tmp_path, name)


@settings(deadline=None)
@given(st.text(max_size=30))
def test_no_name_leads_out(name: str) -> None:
    try:
        run = RunDirectory(Path("/logs"), name)
    except UsageError:
        return
    assert run.path.parent == Path("/logs")
    assert run.path.name == name


def test_a_repository_name_is_one_directory_too(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="repository"):
        RunDirectory(tmp_path, "run").trial("coop", Pair("../evil_task", 0, (1, 2)))


def test_one_writer_in_this_process_and_others(tmp_path: Path) -> None:
    """IO4: two runners under one name."""
    run = RunDirectory(tmp_path, "run")
    program = (
        "import sys; from cooperbench.runs import RunDirectory\n"
        "from cooperbench.errors import RunConflict\n"
        "try:\n  with RunDirectory(sys.argv[1], 'run').lock(): print('free')\n"
        "except RunConflict as e: print(e)\n"
    )

    def other() -> str:
        done = subprocess.run(
            [sys.executable, "-c", program, tmp_path], capture_output=True, text=True, check=True
        )
        return done.stdout.strip()

    with run.lock():
        assert "another process is at work on run 'run'" in other()
        with pytest.raises(RunConflict), RunDirectory(tmp_path, "run").lock():
            pass
        assert run.read_config() is None  # reading needs no lock
    assert other() == "free"


def test_trials_are_found_again_in_order(tmp_path: Path) -> None:
    run = RunDirectory(tmp_path, "run")
    pairs = [
        Pair("a_task", 2, (1, 2)),
        Pair("a_task", 10, (1, 10)),
        Pair("a_task", 10, (2, 3)),
        Pair("b_task", 0, (1,)),
    ]
    for pair in reversed(pairs):
        run.trial("coop", pair).write_result(RESULT)
    for stranger in (
        "coop/a_task/x/f1_f2",
        "coop/a_task/2/f01_f2",
        "coop/a_task/02/f1_f2",
        "coop/.x/2/f1_f2",
        "junk/1",
    ):
        (run.path / stranger).mkdir(parents=True)
    (run.path / "coop" / "file").touch()
    assert [trial.pair for trial in run.trials()] == pairs
    assert {trial.run_name for trial in run.trials()} == {"run"}


@pytest.mark.parametrize("name", ["config.json", "batch.json", "judging.json"])
def test_what_must_not_be_forgotten_is_read_or_refused(tmp_path: Path, name: str) -> None:
    run = RunDirectory(tmp_path, "run")
    run.path.mkdir()
    (run.path / name).symlink_to(name)
    with pytest.raises(UsageError, match=rf"cannot read .*/{name}: "):
        [run.read_config(), run.read_batch(), run.judging_cost()]


def test_a_directory_that_cannot_be_listed_is_no_empty_one(tmp_path: Path) -> None:
    """Its trials would be missing in every total."""
    run = RunDirectory(tmp_path, "run")
    run.trial("coop", PAIR).write_result(RESULT)
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    held = []
    assert len(list(run.trials())) == 1
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (64, before[1]))
        with contextlib.suppress(OSError):
            while True:
                held.append(os.open(tmp_path, os.O_RDONLY))
        with pytest.raises(UsageError, match=r"cannot read .*: Too many open files"):
            list(run.trials())
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
        for descriptor in held:
            os.close(descriptor)


def test_the_layout_of_earlier_releases(tmp_path: Path) -> None:
    run = RunDirectory(tmp_path, "old")
    for features, files in (("f1_f2", ["result.json"]), ("f1_f3", ["result.json", "solo.patch"])):
        place = run.path / "repo_task" / "7" / features
        place.mkdir(parents=True)
        for name in files:
            (place / name).write_text("{}")
    recorded = run.path / "repo_task" / "7" / "f2_f3"
    recorded.mkdir()
    (recorded / "result.json").write_text('{"setting": "solo"}')
    (run.path / "not-a-repo" / "7" / "f1_f2").mkdir(parents=True)
    assert [(trial.pair.key, trial.setting) for trial in run.trials()] == [
        ("f1_f2", "coop"),
        ("f1_f3", "solo"),
        ("f2_f3", "solo"),
    ]


class TestDiscovery:
    @pytest.fixture
    def logs(self, tmp_path: Path) -> Path:
        run = RunDirectory(tmp_path, "run")
        for repo, task, features in (("a_task", 0, (1, 2)), ("a_task", 1, (1, 2)), ("b_task", 0, (2, 3))):
            run.trial("coop", Pair(repo, task, features)).write_result(RESULT)
        run.trial("coop", Pair("b_task", 0, (1, 2))).write_patch(1, b"")  # half done
        return tmp_path

    def test_shape(self, logs: Path) -> None:
        found = discover_runs("run", logs_dir=logs)
        assert len(found) == 3
        assert found[0] == {
            "repo": "a_task",
            "task_id": 0,
            "features": [1, 2],
            "log_dir": str(logs / "run/coop/a_task/0/f1_f2"),
            "setting": "coop",
        }

    def test_filters(self, logs: Path) -> None:
        assert len(discover_runs("run", repo_filter="a_task", logs_dir=logs)) == 2
        # Task 0 is a task, not "no filter".
        assert [r["repo"] for r in discover_runs("run", task_filter=0, logs_dir=logs)] == ["a_task", "b_task"]
        # The order given means nothing.
        assert [r["features"] for r in discover_runs("run", features_filter=[3, 2], logs_dir=logs)] == [
            [2, 3]
        ]

    def test_an_unknown_run_names_those_there_are(self, logs: Path) -> None:
        with pytest.raises(UsageError, match=r"no run 'other'.*run"):
            discover_runs("other", logs_dir=logs)


def test_a_batch_is_noted_until_it_is_over(tmp_path: Path) -> None:
    run = RunDirectory(tmp_path, "r")
    assert run.read_batch() is None
    run.write_batch({"keys": ["a"]})
    assert run.read_batch() == {"keys": ["a"]}
    run.clear_batch({"cost": 1})
    run.write_batch({"keys": ["b"]})
    run.clear_batch({"cost": 2})
    run.clear_batch({})
    assert run.read_batch() is None
    assert json.loads((run.path / "batches.json").read_text()) == [{"cost": 1}, {"cost": 2}]
