"""`show` and `runs` on run directories written by the code that writes them, and on damaged ones."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import pytest

from cooperbench.dataset.model import Pair
from cooperbench.runs import RunDirectory

A, B, C, D = (Pair("r_task", 7, (1, n)) for n in range(2, 6))
HOSTILE = "\x1b[2Jsrc/[red]a.py"


def result(pair: Pair, **more) -> dict:
    agents = {
        f"agent{i}": {"feature_id": n, "status": "Submitted", "cost": 0.25}
        for i, n in enumerate(pair.features, 1)
    }
    known = {"repo": pair.repo, "task_id": pair.task_id, "features": list(pair.features), "setting": "coop"}
    return {**known, "agents": agents, "total_cost": 0.5, "duration_seconds": 2.0, "messages_sent": 3, **more}


def verdict(passed: bool, **more) -> dict:
    merge = {"status": "clean", "strategy": "git", "files": [], "diff": ""}
    return {
        "schema": 1,
        "passed": passed,
        "both_passed": passed,
        "reason": "",
        "merge": merge,
        "error": None,
        **more,
    }


@pytest.fixture
def run() -> RunDirectory:
    run = RunDirectory(Path("logs"), "mine")
    pairs = {"r_task/7": [",".join(map(str, pair.features)) for pair in (A, B, C, D)]}
    run.write_config({"setting": "coop", "agent_framework": "script", "backend": "local", "pairs": pairs})
    for pair, judgement in ((A, verdict(True)), (B, verdict(False, reason="feature 3: 2 tests failed"))):
        trial = run.trial("coop", pair)
        trial.write_conversation([{"from": "agent1", "to": "agent2", "message": "mine is parse()"}])
        trial.write_verdict(judgement, {"tests.f1.log": b"1 passed"})
        trial.write_result(result(pair))
    run.trial("coop", C).write_result(result(C, error="the engine went away"))
    return run


def test_show_tells_of_one_setting(run: RunDirectory, cooperbench) -> None:
    alone = run.trial("solo", A)
    alone.write_verdict(verdict(True), {})
    alone.write_result(result(A, setting="solo"))
    assert "2 passed + 1 failed + 1 errors + 1 pending = 5 trials" in cooperbench("show", "mine").out
    assert (
        "1 passed + 0 failed + 0 errors + 0 pending = 1 trials"
        in cooperbench("show", "mine", "--setting", "solo").out
    )
    lines = list(csv.DictReader(io.StringIO(cooperbench("show", "mine", "--setting", "solo", "--csv").out)))
    assert [line["setting"] for line in lines] == ["solo"]
    refused = cooperbench("show", "mine", "--setting", "tram")
    assert refused.code == 2
    assert "run mine has no trials of setting 'tram'; it has: coop, solo" in refused.err


@pytest.mark.usefixtures("run")
def test_show_adds_up_and_says_why(cooperbench) -> None:
    outcome = cooperbench("show", "mine")
    assert outcome.code == 0
    assert "1 passed + 1 failed + 1 errors + 1 pending = 4 trials" in outcome.out
    assert "pass rate 50.0 % of the 2 judged" in outcome.out
    assert "feature 3: 2 tests failed" in outcome.out
    assert "the engine went away" in outcome.out


@pytest.mark.usefixtures("run")
def test_show_as_json_and_csv_hold_every_trial(cooperbench) -> None:
    shown = json.loads(cooperbench("show", "mine", "--json").out)
    assert [shown[key] for key in ("total", "passed", "failed", "errors", "pending")] == [4, 1, 1, 1, 1]
    assert [trial["outcome"] for trial in shown["trials"]] == ["passed", "failed", "error", "pending"]
    lines = list(csv.DictReader(io.StringIO(cooperbench("show", "mine", "--csv").out)))
    assert [line["features"] for line in lines] == ["1 2", "1 3", "1 4", "1 5"]


@pytest.mark.parametrize("words", ["r_task/7/1,3", "7/1,3", "1,3", "3,1", "f1_f3", "/7/3,1/"])
@pytest.mark.usefixtures("run")
def test_a_trial_is_found_by_the_end_of_its_name(cooperbench, words: str) -> None:
    outcome = cooperbench("show", "mine", words)
    assert outcome.code == 0
    assert outcome.out.startswith("r_task/7/1,3  failed")
    assert "mine is parse()" in outcome.out


@pytest.mark.usefixtures("run")
def test_a_trial_as_json_is_what_is_on_disk(cooperbench) -> None:
    shown = json.loads(cooperbench("show", "mine", "1,2", "--json").out)
    assert shown["trial"] == "r_task/7/1,2"
    assert shown["verdict"]["passed"] is True
    assert shown["conversation"][0]["message"] == "mine is parse()"


def test_an_unknown_or_ambiguous_trial_is_one_line(cooperbench, run: RunDirectory) -> None:
    outcome = cooperbench("show", "mine", "9,9")
    assert outcome.code == 2
    assert "its trials: r_task/7/1,2" in outcome.err
    run.trial("coop", Pair("s_task", 7, (1, 2))).write_result(result(A))
    outcome = cooperbench("show", "mine", "7/1,2")
    assert outcome.code == 2
    assert "means several trials" in outcome.err
    run.trial("solo", A).write_result(result(A, setting="solo"))
    assert cooperbench("show", "mine", "r_task/7/1,2", "--setting", "solo").code == 0


@pytest.mark.usefixtures("run")
def test_an_unknown_run_is_one_line_with_a_hint(cooperbench) -> None:
    outcome = cooperbench("show", "mini")
    assert outcome.code == 2
    assert "did you mean 'mine'?" in outcome.err


def test_damaged_files_count_as_absent(cooperbench, run: RunDirectory) -> None:
    (run.trial("coop", A).path / "eval.json").write_text('{"passed": tr')
    (run.trial("coop", B).path / "result.json").write_bytes(b"\xff\x00")
    assert "0 passed + 0 failed + 1 errors + 3 pending = 4 trials" in cooperbench("show", "mine").out
    assert cooperbench("show", "mine", "1,3").code == 0
    (run.path / "config.json").write_text("[]")
    outcome = cooperbench("show", "mine")
    assert "= 3 trials" in outcome.out
    assert "config.json is damaged: trials that have not run are not counted" in outcome.err


def test_nothing_a_run_holds_steers_the_terminal(cooperbench, run: RunDirectory) -> None:
    merge = {"status": "conflicts", "strategy": "git", "files": [HOSTILE], "diff": HOSTILE}
    run.trial("coop", B).write_verdict(verdict(False, merge=merge, reason=HOSTILE), {})
    for argv in (
        ["show", "mine"],
        ["show", "mine", "1,3"],
        ["show", "mine", "--csv"],
        ["show", "mine", "--json"],
    ):
        text = cooperbench(*argv).out
        assert "\x1b" not in text
        assert "[red]a.py" in text


@pytest.mark.usefixtures("run")
def test_runs_lists_every_run(cooperbench) -> None:
    RunDirectory(Path("logs"), "other").write_config({"setting": "solo"})
    Path("logs/.hidden").mkdir()
    outcome = cooperbench("runs")
    assert outcome.code == 0
    assert [line.split()[0] for line in outcome.out.splitlines()[2:]] == ["mine", "other"]
    assert "script" in outcome.out
    assert [found["run"] for found in json.loads(cooperbench("runs", "--json").out)] == ["mine", "other"]


def test_no_runs_is_no_error(cooperbench) -> None:
    outcome = cooperbench("runs")
    assert outcome.code == 0
    assert "no runs in logs" in outcome.out


@pytest.mark.usefixtures("run")
def test_the_logs_directory_comes_from_flag_or_setting(cooperbench, monkeypatch) -> None:
    Path("logs").rename("elsewhere")
    assert cooperbench("show", "mine").code == 2
    assert cooperbench("show", "mine", "--log-dir", "elsewhere").code == 0
    monkeypatch.setenv("COOPERBENCH_LOGS_DIR", "elsewhere")
    assert cooperbench("show", "mine").code == 0
