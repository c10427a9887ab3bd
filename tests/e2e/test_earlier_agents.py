"""An agent written for earlier releases, as it stands: it makes its own sandbox and hands a patch over."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from cooperbench import run
from cooperbench.dataset import demo_dataset, load_dataset
from cooperbench.dataset.model import Pair
from cooperbench.runs import RunDirectory

MODULE = """
from pathlib import Path

from cooperbench.agents import AgentResult
from cooperbench.agents.registry import register

SEEN = []


@register("of_old")
class Old:
    def run(self, task, image, *, agent_id, model_name, agents=None, comm_url=None, git_server_url=None,
            git_enabled=False, messaging_enabled=True, config=None, agent_config=None, log_dir=None):
        SEEN.append((task, image, agent_id, model_name, agents, messaging_enabled, comm_url))
        patch = Path(agent_config, agent_id + ".patch").read_text()
        return AgentResult(status="Submitted", patch=patch.strip(), cost=0.5, steps=3, input_tokens=7,
                           output_tokens=2, messages=[{"role": "user", "content": task}])
"""


@pytest.fixture(name="patches")
def _patches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "of_old_agents.py").write_text(MODULE)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("COOPERBENCH_EXTERNAL_AGENTS", "of_old_agents")
    task = load_dataset(demo_dataset()).task("gridline_task", 3)
    folder = tmp_path / "patches"
    folder.mkdir()
    for agent, feature in (("agent1", 2), ("agent2", 4)):
        (folder / f"{agent}.patch").write_bytes(
            (task.path / f"feature{feature}" / "feature.patch").read_bytes()
        )
    return folder


def old_run(name: str, patches: Path, logs: Path) -> dict[str, Any]:
    summary = run(
        name,
        agent="of_old",
        agent_config=patches,
        model_name="some/model",
        repo="gridline_task",
        features=[2, 4],
        backend="local",
        dataset_dir=demo_dataset(),
        logs_dir=logs,
    )
    (line,) = summary["results"]
    return dict(line)


def test_it_runs_as_it_is_and_its_patch_is_judged(patches: Path, tmp_path: Path) -> None:
    line = old_run("old", patches, tmp_path / "logs")
    assert line["status"] == "done", line["error"]
    assert line["cost"] == 1.0
    assert line["eval"] is not None
    place = RunDirectory(tmp_path / "logs", "old").trial("coop", Pair("gridline_task", 3, (2, 4)))
    task = load_dataset(demo_dataset()).task("gridline_task", 3)
    for feature, patch in place.read_patches().items():
        gold = (task.path / f"feature{feature}" / "feature.patch").read_bytes()
        added = [row for row in gold.splitlines() if row.startswith(b"+") and not row.startswith(b"+++")]
        assert all(row in patch.splitlines() for row in added)
    seen = sorted(sys.modules["of_old_agents"].SEEN[-2:], key=lambda call: call[2])
    assert [call[1:] for call in seen] == [
        (task.image, agent, "some/model", ["agent1", "agent2"], False, None) for agent in ("agent1", "agent2")
    ]


def test_a_patch_that_does_not_apply_is_the_agents_error(patches: Path, tmp_path: Path) -> None:
    (patches / "agent1.patch").write_text(
        "diff --git a/nowhere b/nowhere\n--- a/nowhere\n+++ b/nowhere\n@@ -1 +1 @@\n-a\n+b\n"
    )
    line = old_run("broken", patches, tmp_path / "logs")
    assert line["status"] == "error"
    assert "does not apply" in line["error"]
