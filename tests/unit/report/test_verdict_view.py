"""One trial in full: what must be said is said, and hostile contents are printed, not obeyed."""

from __future__ import annotations

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from cooperbench.report.rows import TrialRow
from cooperbench.report.verdict_view import trial
from tests.unit.report.rows import HOSTILE, json_values, objects
from tests.unit.report.test_rows_and_tables import printed

ROW = TrialRow("r_task", 7, (1, 2), "coop", "failed", "conflicts", ("a.py",), reason="they conflict")

RESULT = {
    "setting": "coop",
    "agent_framework": "script",
    "model": None,
    "duration_seconds": 3.2,
    "total_cost": 0.5,
    "agents": {
        "agent1": {
            "feature_id": 1,
            "status": "Submitted",
            "steps": 4,
            "patch_lines": 20,
            "cost": 0.5,
            "error": None,
        },
        "agent2": {
            "feature_id": 2,
            "status": "Error",
            "steps": 0,
            "patch_lines": 0,
            "cost": None,
            "error": "boom",
        },
    },
}
VERDICT = {
    "apply_status": {"agent1": "applied", "agent2": "failed"},
    "merge": {"status": "conflicts", "strategy": "git", "files": ["src/calc.py"], "diff": "+x\n"},
    "feature1": {
        "feature_id": 1,
        "passed": True,
        "exit_code": 0,
        "tests_passed": 3,
        "tests_failed": 0,
        "log": "t.log",
    },
    "feature2": {"feature_id": 2, "passed": False, "exit_code": 1, "reason": "2 tests failed", "log": None},
    "independent": [{"feature_id": 1, "passed": True, "exit_code": 0}],
    "dropped": {"agent1": ["tests/test_calc.py"], "agent2": []},
    "integrity": [{"kind": "config", "agent": "agent1", "path": "conftest.py", "line": 3, "detail": "hooks"}],
    "rules": {"merge": "git", "integrity": "report"},
    "image": {"reference": "img:1", "digest": "sha256:ab"},
    "backend": "local",
}
TALK = [{"from": "agent1", "to": "agent2", "message": "I take parse()\nyou take format()"}]


def test_a_teams_lead_and_tasks_are_shown() -> None:
    result = {**RESULT, "lead_agent": "agent1", "metrics": {"tasks_total": 4, "tasks_done": 2}}
    assert "lead agent1 · tasks 2 of 4 done" in printed(*trial(ROW, Path("d"), result, VERDICT))
    assert "tasks" not in printed(*trial(ROW, Path("d"), RESULT, None)).partition("agents")[0]


def test_everything_that_explains_a_verdict_is_there() -> None:
    text = printed(*trial(ROW, Path("logs/x"), RESULT, VERDICT, TALK, ["eval.json", "t.log"]))
    text = " ".join(text.split())  # long lines are wrapped
    for word in (
        "r_task/7/1,2",
        "they conflict",
        "patch of agent2: failed",
        "conflict in src/calc.py",
        "strategy git",
        "boom",
        "2 tests failed",
        "t.log",
        "each patch alone",
        "tests/test_calc.py",
        "config agent1 conftest.py:3: hooks",
        "I take parse()",
        "you take format()",
        "img:1 sha256:ab",
        "merge git, integrity report",
        "eval.json",
    ):
        assert word in text, word


def test_a_trial_without_anything_is_still_shown() -> None:
    text = printed(*trial(TrialRow("r", 1, (1, 2), "coop", "pending"), Path("x"), None, None))
    assert "pending" in text
    assert "files in x:" in text


RESULTS = objects(["setting", "agents", "agent", "total_cost", "duration_seconds", "error", "model"])
VERDICTS = objects(
    ["merge", "apply_status", "feature1", "feature2", "independent", "dropped", "integrity", "rules"]
)
MERGES = st.fixed_dictionaries({"merge": objects(["status", "strategy", "files", "diff"])})


@given(RESULTS | json_values, VERDICTS | MERGES | json_values, json_values)
def test_files_can_hold_anything(result, verdict, conversation) -> None:
    printed(*trial(ROW, Path("x"), result, verdict, conversation, [HOSTILE]))


def test_nothing_in_a_trial_steers_the_terminal() -> None:
    verdict = {
        "merge": {"status": HOSTILE, "files": [HOSTILE], "diff": HOSTILE},
        "apply_status": {HOSTILE: HOSTILE},
        "feature1": {"feature_id": HOSTILE, "passed": True, "reason": HOSTILE, "log": HOSTILE},
        "dropped": {HOSTILE: [HOSTILE]},
        "integrity": [{"kind": HOSTILE, "path": HOSTILE, "detail": HOSTILE}],
        "rules": {HOSTILE: HOSTILE},
        "image": {"reference": HOSTILE},
    }
    result = {
        "setting": HOSTILE,
        "agents": {HOSTILE: {"status": HOSTILE, "error": HOSTILE, "feature_id": HOSTILE}},
    }
    talk = [{"from": HOSTILE, "to": HOSTILE, "message": HOSTILE}]
    row = TrialRow(HOSTILE, 1, (1, 2), "coop", "error", error=HOSTILE, reason=HOSTILE)
    text = printed(*trial(row, Path(f"x{HOSTILE}"), result, verdict, talk, [HOSTILE]))
    assert not set(text) & {"\x1b", "\r", "\u202e"}
    assert "[red]x[/red]" in text
    assert ":smile:" in text
