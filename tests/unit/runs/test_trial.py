"""One trial's files: whole or absent, never a reason to stop."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cooperbench import runs
from cooperbench.dataset.model import Pair
from cooperbench.errors import UsageError
from cooperbench.runs import RunDirectory, TrialDirectory, finished

PAIR = Pair("repo_task", 0, (1, 2))
DONE = {"agents": {"agent1": {"status": "Submitted"}, "agent2": {"status": "LimitsExceeded"}}}


@pytest.fixture
def trial(tmp_path: Path) -> TrialDirectory:
    return RunDirectory(tmp_path, "run").trial("coop", PAIR)


def test_names_are_the_published_layout(trial: TrialDirectory, tmp_path: Path) -> None:
    assert trial.path == tmp_path / "run" / "coop" / "repo_task" / "0" / "f1_f2"
    trial.write_patch(1, b"one")
    trial.write_patch(2, b"two\r\n\xff")
    trial.write_trajectory(1, {"steps": 1})
    trial.write_conversation([{"from": "agent1"}])
    trial.write_result(DONE)
    trial.write_verdict({"passed": True}, {"tests.f1.log": b"log"})
    assert sorted(os.listdir(trial.path)) == [
        "agent1.patch",
        "agent1_traj.json",
        "agent2.patch",
        "conversation.json",
        "eval.json",
        "result.json",
        "tests.f1.log",
    ]
    assert trial.read_patches() == {1: b"one", 2: b"two\r\n\xff"}
    assert trial.read_conversation() == [{"from": "agent1"}]


def test_solo_names(tmp_path: Path) -> None:
    trial = RunDirectory(tmp_path, "run").trial("solo", PAIR)
    trial.write_patch(0, b"all")
    trial.write_trajectory(0, {})
    assert sorted(os.listdir(trial.path)) == ["solo.patch", "solo_traj.json"]
    assert trial.read_patches() == {0: b"all"}


@settings(deadline=None)
@given(
    damage=st.binary(max_size=60) | st.sampled_from([b"[]", b"3", b"null", b"{", b'{"a":', b"[" * 100_000])
)
def test_damaged_files_read_as_absent(tmp_path_factory: pytest.TempPathFactory, damage: bytes) -> None:
    """IO2, IO3: a truncated result or verdict means *not done*, not a crash for ever."""
    trial = TrialDirectory(tmp_path_factory.mktemp("t"), "coop", PAIR)
    for name in ("result.json", "eval.json", "conversation.json", "eval_error.json"):
        (trial.path / name).write_bytes(damage)
    assert isinstance(trial.read_result(), dict | None)
    assert isinstance(trial.read_verdict(), dict | None)
    assert isinstance(trial.read_conversation(), list)
    assert not finished(trial.read_result())


@pytest.mark.parametrize("name", ["result.json", "eval.json", "eval_error.json"])
def test_a_file_that_is_there_and_cannot_be_opened_is_not_absent(trial: TrialDirectory, name: str) -> None:
    """Absent means: do it again, which removes what is there and pays for agents once more."""
    trial.write_patch(1, b"work")
    (trial.path / name).symlink_to(name)  # the system's own refusal, which root has no way around
    read = {"result.json": trial.read_result, "eval.json": trial.read_verdict}.get(
        name, trial.read_judge_error
    )
    with pytest.raises(UsageError, match=rf"cannot read .*/{name}: Too many levels of symbolic links"):
        read()
    assert trial.read_patches() == {1: b"work"}


@pytest.mark.parametrize(
    "figure", [10**400, -(10**400), 1e999, "3", True, None, [], {}], ids=lambda f: repr(f)[:9]
)
def test_a_figure_nobody_can_add_up_is_unknown(figure: object, trial: TrialDirectory) -> None:
    assert runs.trial.number(figure) is None
    assert trial.spent({"spent": figure, "total_cost": 1.5, "sandbox_cost": figure}) == 1.5


def test_what_was_spent_outlives_the_attempts(trial: TrialDirectory) -> None:
    """Also what a result says that no note was made of, as before there were notes; and half a note is none."""
    assert trial.spent(None) == 0
    trial.clear()
    assert not trial.path.exists()
    trial.append_spent(0.5)
    trial.write_patch(1, b"work")
    (trial.path / "agent1").mkdir()
    trial.clear()
    assert [path.name for path in trial.path.iterdir()] == ["spent.jsonl"]
    trial.append_spent(0.25)
    trial.write_result({**DONE, "spent": 2.0})
    assert trial.spent(trial.read_result()) == 2.0
    trial.clear()
    assert trial.spent(trial.read_result()) == 2.0
    with (trial.path / "spent.jsonl").open("a") as file:
        file.write('{"usd": 1')
    trial.clear()
    assert trial.spent(None) == 2.0


def test_figures_that_are_not_json_make_a_file_damaged(trial: TrialDirectory) -> None:
    """Python writes and reads ``NaN``; nobody can add it up."""
    trial.write_result(DONE)
    (trial.path / "result.json").write_text('{"duration_seconds": NaN}')
    assert trial.read_result() is None


def test_every_truncation_of_a_result_is_unfinished(trial: TrialDirectory) -> None:
    trial.write_result(DONE)
    whole = (trial.path / "result.json").read_bytes()
    for length in range(len(whole.rstrip())):
        (trial.path / "result.json").write_bytes(whole[:length])
        assert not finished(trial.read_result())


@pytest.mark.parametrize(
    ("result", "expected"),
    [
        (None, False),
        (DONE, True),
        ({**DONE, "error": "the sandbox is gone"}, False),
        ({"agents": {"agent1": {"status": "Error"}, "agent2": {"status": "Submitted"}}}, False),
        ({"agent": {"status": "Submitted"}}, True),
        ({"agent": {"status": "Error"}}, False),
        ({}, False),
        ({"agents": {}}, False),
        ({"agents": [3], "agent": 4}, False),
    ],
)
def test_what_finished_means(result, expected: bool) -> None:
    assert finished(result) is expected


def test_a_new_verdict_leaves_nothing_of_the_old(trial: TrialDirectory) -> None:
    trial.write_result(DONE)
    trial.write_verdict({"passed": True}, {"tests.f1.log": b"1", "tests.f2.log": b"2"})
    trial.write_judge_error("the engine went away")
    assert trial.read_judge_error() == "the engine went away"
    trial.write_verdict({"passed": False}, {"tests.f1.log": b"new"})
    assert trial.read_judge_error() is None
    assert sorted(os.listdir(trial.path)) == ["eval.json", "result.json", "tests.f1.log"]


def test_clear_leaves_nothing(trial: TrialDirectory) -> None:
    """IO1: the old verdict must not meet the new patch."""
    trial.clear()
    trial.write_result(DONE)
    trial.write_verdict({"passed": True}, {})
    (trial.path / "agent1").mkdir()
    (trial.path / "agent1" / "stream.jsonl").touch()
    trial.clear()
    assert not trial.path.exists()


@pytest.mark.parametrize("name", ["../x.log", "a/b.log", ".hidden.log", "result.json", "", "x\n.log"])
def test_a_log_cannot_be_written_elsewhere(trial: TrialDirectory, name: str) -> None:
    with pytest.raises(UsageError, match="no name for a test log"):
        trial.write_verdict({}, {name: b""})


def test_no_secret_is_written(trial: TrialDirectory, monkeypatch: pytest.MonkeyPatch) -> None:
    """3.10: but for patches, which are bytes under judgement."""
    monkeypatch.setenv("SOME_API_KEY", "sk-in-the-open")
    told = {"text": "it said sk-in-the-open"}
    trial.write_trajectory(1, told)
    trial.write_conversation([told])
    trial.write_events([told])
    trial.append_call("agent1", told)
    trial.append_turn(told)
    trial.write_patch(1, b"+sk-in-the-open\n")
    trial.write_result({**DONE, "error": "sk-in-the-open"})
    holding = {path.name for path in trial.path.iterdir() if b"sk-in-the-open" in path.read_bytes()}
    assert holding == {"agent1.patch"}
    assert trial.read_calls("agent1") == [{"text": "it said [redacted]"}]


def test_a_recording_is_read_up_to_where_its_writer_was_killed(trial: TrialDirectory) -> None:
    assert trial.read_calls("agent1") == []
    assert not trial.recorded()
    for number in range(3):
        trial.append_call("agent1", {"number": number})
    place = trial.path / "calls.agent1.jsonl"
    place.write_bytes(place.read_bytes()[:-5])
    assert [call["number"] for call in trial.read_calls("agent1")] == [0, 1]
    assert trial.recorded()
