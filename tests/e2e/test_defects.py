"""IO6 and IO7 where `test_run` does not look for them. `DEFECTS.md` names the defects."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from cooperbench import evaluate, register_agent, run
from cooperbench.agents.base import AgentResult, Assignment
from cooperbench.dataset import demo_dataset
from cooperbench.errors import RunConflict
from cooperbench.events import TrialStarted
from cooperbench.runs import RunDirectory
from cooperbench.runs.settings import DEFINING


class Vandal:
    """While it works, a file of the dataset is lost."""

    uses_messages = False

    def run(self, assignment: Assignment, *_: Any) -> AgentResult:
        (assignment.task_path / "feature1" / "tests.patch").unlink(missing_ok=True)
        return AgentResult()


def test_any_exception_while_judging_leaves_a_whole_run_behind(tmp_path: Path) -> None:
    """IO7: of one single trial, for a reason that no class of errors foresees."""
    dataset = tmp_path / "dataset"
    shutil.copytree(demo_dataset(), dataset)
    lost = dataset / "almanac_task" / "task12" / "feature1" / "tests.patch"
    content = lost.read_bytes()
    register_agent("vandal", Vandal)
    events: list[Any] = []
    options: dict[str, Any] = {
        "repo": "almanac_task", "features": [1, 2], "agent": "vandal", "backend": "local", "dataset_dir": dataset,
        "logs_dir": tmp_path, "progress": events.append,
    }  # fmt: skip
    summary = run("one", **options)
    assert (summary["completed"], summary["eval"]["errors"], summary["eval"]["failed"]) == (1, 1, 0)
    assert json.loads((tmp_path / "one" / "summary.json").read_text()) == summary
    assert json.loads((tmp_path / "one" / "eval_summary.json").read_text())["errors"] == 1
    lost.write_bytes(content)
    events.clear()
    summary = run("one", **options)
    assert (summary["eval"]["errors"], summary["eval"]["failed"]) == (0, 1)
    assert not any(isinstance(event, TrialStarted) for event in events)


def test_everything_that_makes_the_experiment_is_written_and_kept(tmp_path: Path) -> None:
    """IO6: backend, messages, git, subset and version too."""
    options: dict[str, Any] = {
        "subset": "demo", "repo": "almanac_task", "features": [1, 2], "agent": "noop", "backend": "local",
        "dataset_dir": demo_dataset(), "logs_dir": tmp_path, "auto_eval": False,
    }  # fmt: skip
    run("kept", **options)
    config = RunDirectory(tmp_path, "kept").read_config() or {}
    assert set(DEFINING) | {"versions", "images", "pairs", "dataset"} <= set(config)
    wanted = {"subset": "demo", "repo": "almanac_task", "task_id": None, "features": [1, 2]}
    assert config["selections"] == [wanted]
    for change, said in (
        ({"messaging_enabled": False}, "messaging_enabled was True, is now False"),
        ({"git_enabled": True}, "git_enabled was False, is now True"),
        ({"timeout": 5}, "test_timeout was 600, is now 5"),
        ({"agent_timeout": 5}, "agent_timeout was 3600, is now 5"),
        ({"independent": True}, "independent was False, is now True"),
        ({"model_name": "another"}, "model was .*, is now 'another'"),
    ):
        with pytest.raises(RunConflict, match=said):
            run("kept", **{**options, **change})


def test_judging_by_itself_brings_both_summaries_up_to_date(tmp_path: Path) -> None:
    """IO5: also when the selection leaves most of the run alone."""
    where: dict[str, Any] = {"backend": "local", "dataset_dir": demo_dataset(), "logs_dir": tmp_path}
    for features in ([1, 2], [1, 3]):
        run("later", repo="almanac_task", features=features, agent="noop", auto_eval=False, **where)
    evaluate("later", features=[1, 3], **where)
    written = json.loads((tmp_path / "later" / "summary.json").read_text())
    assert (written["eval"]["failed"], written["eval"]["pending"], written["total_tasks"]) == (1, 1, 2)
    judged = json.loads((tmp_path / "later" / "eval_summary.json").read_text())
    assert (judged["failed"], judged["pending"], judged["total_runs"]) == (1, 1, 2)
