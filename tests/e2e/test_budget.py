"""A run that has spent its money starts nothing more, keeps what is done, and goes on with more."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from cooperbench import run
from cooperbench.agents.base import AgentResult
from cooperbench.agents.gold import GoldAgent
from cooperbench.dataset import demo_dataset
from cooperbench.events import Note


class DearAgent(GoldAgent):
    """What it does costs a quarter of a dollar."""

    def run(self, assignment: Any, sandbox: Any, mailbox: Any) -> AgentResult:
        super().run(assignment, sandbox, mailbox)
        return AgentResult(cost=0.25, steps=1)


def spend(logs: Path, most: float | None) -> tuple[dict[str, Any], list[str]]:
    notes: list[str] = []
    summary = run(
        "dear",
        agent=f"{__name__}:DearAgent",
        repo="gridline_task",
        backend="local",
        concurrency=1,
        auto_eval=False,
        dataset_dir=demo_dataset(),
        logs_dir=logs,
        max_cost=most,
        progress=lambda event: notes.append(event.text) if isinstance(event, Note) else None,
    )
    return summary, notes


def test_the_money_of_a_run(tmp_path: Path) -> None:
    first, notes = spend(tmp_path, 0.75)
    assert (first["completed"], first["total_cost"]) == (2, 1.0)
    assert first["pending"] == first["total_tasks"] - 2 > 0
    assert any(f"{first['pending']} trials were not started" in note for note in notes)
    again, _ = spend(tmp_path, 0.75)
    assert again["completed"] == 2
    more, notes = spend(tmp_path, None)
    assert more["pending"] == 0
    assert more["total_cost"] == more["total_tasks"] * 0.5
    assert not any("not started" in note for note in notes)
