"""`run_patch_test`, `test_merged`, `test_solo`, `evaluate_merge`: what scripts call, in the shapes they know."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import cooperbench
from cooperbench.dataset.model import Dataset
from cooperbench.errors import UsageError
from tests.judging.project import DIV, GOLD, REPO, Project, lay_out


@pytest.fixture
def where(dataset: Dataset) -> dict[str, Any]:
    return {"repo_name": REPO, "task_id": 2, "dataset_dir": dataset.root, "backend": "local", "timeout": 60}


def test_gold_when_no_patch_is_given(where: dict[str, Any]) -> None:
    result = cooperbench.run_patch_test(feature_id=1, **where)
    assert (result["passed"], result["tests_passed"], result["tests_failed"], result["tests_total"]) == (
        True,
        1,
        0,
        1,
    )
    assert result["error"] is None
    assert "test_sub" in result["output"]


def test_a_patch_is_a_path_or_text_and_nothing_is_guessed(
    where: dict[str, Any], project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    patch = project.gold(1)
    file = tmp_path / "agent.patch"
    file.write_bytes(patch)
    monkeypatch.chdir(tmp_path)
    for given in (file, str(file), "agent.patch", patch, patch.decode()):
        assert cooperbench.run_patch_test(feature_id=1, agent_patch=given, **where)["passed"], given
    for empty in ("", b""):
        assert not cooperbench.run_patch_test(feature_id=1, agent_patch=empty, **where)["passed"]
    for missing in ("no/such.patch", Path("no/such.patch"), str(tmp_path)):
        with pytest.raises(UsageError, match="cannot read the patch file"):
            cooperbench.run_patch_test(feature_id=1, agent_patch=missing, **where)


def test_what_does_not_exist_is_named(where: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match=r"no feature 9; its features are 1, 2, 3"):
        cooperbench.run_patch_test(feature_id=9, **where)
    with pytest.raises(UsageError, match="no task"):
        cooperbench.run_patch_test(feature_id=1, **{**where, "task_id": 7})
    with pytest.raises(UsageError, match="named twice"):
        cooperbench.test_merged(feature1_id=1, feature2_id=1, patch1=b"", patch2=b"", **where)
    with pytest.raises(UsageError, match="Unknown backend"):
        cooperbench.run_patch_test(feature_id=1, **{**where, "backend": "nowhere"})


def test_merged_whichever_order(where: dict[str, Any], project: Project) -> None:
    one, two = project.gold(1), project.gold(2)
    forth = cooperbench.test_merged(feature1_id=1, feature2_id=2, patch1=one, patch2=two, **where)
    back = cooperbench.test_merged(feature1_id=2, feature2_id=1, patch1=two, patch2=one, **where)
    for answer in (forth, back):
        assert answer["both_passed"] is True
        assert answer["apply_status"] == {"agent1": "applied", "agent2": "applied"}
        assert answer["merge"]["status"] == "clean"
        assert "def sub" in answer["merge"]["diff"]
        assert (answer["feature1"]["feature_id"], answer["feature2"]["feature_id"]) == (1, 2)
        assert answer["error"] is None
    assert forth["inputs"] == back["inputs"]


def test_solo_and_the_old_wrapper(where: dict[str, Any], project: Project) -> None:
    both = project.patch({"sums.py": GOLD[1]["sums.py"] + DIV})
    answer = cooperbench.test_solo(feature1_id=1, feature2_id=2, patch=both, **where)
    assert answer["setting"] == "solo"
    assert answer["patch_lines"] == len(both.splitlines())
    assert answer["both_passed"]
    old = cooperbench.evaluate_merge(
        feature1_id=1, feature2_id=3, patch1=project.gold(1), patch2=project.gold(3), **where
    )
    assert old == {
        "feature1_tests_passed": 0, "feature1_tests_total": 1, "feature2_tests_passed": 0, "feature2_tests_total": 1,
        "error": None,
    }  # fmt: skip


def test_trouble_of_the_infrastructure_is_an_error_and_no_verdict(tmp_path: Path, project: Project) -> None:
    broken = lay_out(tmp_path / "no-runner", project, "rm /usr/local/bin/runner.sh\n", {1: "true"})
    where: dict[str, Any] = {"repo_name": REPO, "task_id": 1, "dataset_dir": broken.root, "backend": "local"}
    result = cooperbench.run_patch_test(feature_id=1, **where)
    assert result["passed"] is False
    assert result["verdict"] is None
    assert "has no /usr/local/bin/runner.sh" in result["error"]
    answer = cooperbench.test_merged(feature1_id=1, feature2_id=2, patch1=b"", patch2=b"", **where)
    assert answer["passed"] is None
    assert "runner.sh" in answer["error"]
