"""The agent in docs/agents.md works as it stands there."""

from __future__ import annotations

import re
from pathlib import Path

from cooperbench import run
from cooperbench.dataset import demo_dataset

PAGE = Path(__file__).parents[2] / "docs" / "agents.md"


def test_the_documented_agent_runs(tmp_path: Path) -> None:
    (code,) = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    exec(compile(code, str(PAGE), "exec"), {})
    summary = run(
        "docs",
        agent="mine",
        repo="almanac_task",
        features=[1, 2],
        backend="local",
        dataset_dir=demo_dataset(),
        logs_dir=tmp_path,
    )
    assert summary["completed"] == 1
    assert summary["total_cost"] == 0.02
    patch = tmp_path / "docs" / "coop" / "almanac_task" / "12" / "f1_f2" / "agent1.patch"
    assert b"+hello" in patch.read_bytes()
