"""What sandboxes cost: told before, counted while a run goes on, in its results after."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cooperbench import evaluate, run
from cooperbench.dataset import demo_dataset
from cooperbench.errors import UsageError
from cooperbench.eval.backends import _registered as registered
from cooperbench.eval.backends import register_backend
from cooperbench.eval.backends.base import Price
from cooperbench.eval.backends.modal import ModalBackend
from cooperbench.events import Note
from tests.loopback.modal import Cloud
from tests.modal import cloud as clouds


class DearBackend(ModalBackend):
    """A dollar a second."""

    def price(self) -> Price:
        return Price(3600.0, "a dear vendor's prices")


@pytest.fixture(name="settled", autouse=True)
def _settled(cloud: Cloud) -> Iterator[None]:
    """The backend on loopback, by the names a run has for it."""

    def make(kind: type[ModalBackend]) -> Any:
        return lambda: kind(creates_per_second=0, host_image=clouds.IMAGE, network="none")

    register_backend("modal", make(ModalBackend), override=True)
    register_backend("dear", make(DearBackend))
    with clouds.led_to(cloud):
        yield
    registered.pop("modal")
    registered.pop("dear")


def ran(logs: Path, backend: str, **wishes: Any) -> tuple[dict[str, Any], list[str], list[dict[str, Any]]]:
    notes: list[str] = []
    summary = run(
        "costs",
        agent="gold",
        repo="gridline_task",
        backend=backend,
        dataset_dir=demo_dataset(),
        logs_dir=logs,
        progress=lambda event: notes.append(event.text) if isinstance(event, Note) else None,
        **wishes,
    )
    return summary, notes, [json.loads(path.read_text()) for path in sorted(logs.rglob("result.json"))]


def test_told_before_and_recorded_after(tmp_path: Path, cloud: Cloud) -> None:
    cloud.stats = True
    try:
        wishes = {"features": [3, 4], "agent_timeout": 7200}
        summary, notes, results = ran(tmp_path, "modal", **wishes)
    finally:
        cloud.stats = False
    assert summary["pass_rate"] == 1.0
    told = next(note for note in notes if note.startswith("a sandbox costs about"))
    assert "about $0.190 an hour, by Modal's list prices of June 2026" in told
    assert "at most $0.76 for 2 agents" in told
    costs = results[0]["sandbox_costs"]
    assert costs.keys() == {"agent1", "agent2"}
    for cost in costs.values():
        assert cost["vendor"] > cost["estimate"] > 0, "the loopback server's price is a dollar a second"
    assert results[0]["sandbox_cost"] == pytest.approx(
        sum(cost["vendor"] for cost in costs.values()), abs=1e-5
    )
    assert summary["sandbox_cost"] == results[0]["sandbox_cost"]


def test_a_vendor_without_figures_leaves_the_estimate(tmp_path: Path) -> None:
    _, _, results = ran(tmp_path, "modal", features=[3, 4], auto_eval=False)
    for cost in results[0]["sandbox_costs"].values():
        assert cost["vendor"] is None
        assert 0 < cost["estimate"] < 0.1


def test_the_ceiling_counts_them(tmp_path: Path) -> None:
    """At a dollar a second one trial is more than the tenth of a dollar there is, and the rest does not start."""
    summary, notes, _ = ran(tmp_path, "dear", max_cost=0.1, concurrency=1, auto_eval=False)
    assert summary["completed"] == 1
    assert any("of the $0.1 of --max-cost are spent" in note for note in notes)
    again, _, _ = ran(tmp_path, "dear", max_cost=0.1, concurrency=1, auto_eval=False)
    assert again["completed"] == 1, "what earlier calls have spent is spent"


def judged(logs: Path, backend: str, **wishes: Any) -> tuple[int, list[str]]:
    """How many trials of that run have a verdict then, and what was told."""
    notes: list[str] = []
    totals = evaluate(
        "costs",
        backend=backend,
        concurrency=1,
        dataset_dir=demo_dataset(),
        logs_dir=logs,
        progress=lambda event: notes.append(event.text) if isinstance(event, Note) else None,
        **wishes,
    )
    return totals["passed"] + totals["failed"], notes


def test_judging_has_a_ceiling_too(tmp_path: Path) -> None:
    """At a dollar a second one judgement is more than there is; those to come wait for more money, and then go on."""
    summary, _, _ = ran(tmp_path, "modal", auto_eval=False)
    trials = summary["completed"]
    assert trials > 2
    count, notes = judged(tmp_path, "dear", max_cost=0.001)
    assert count == 1
    each = "at 90 s each and $3600.000 an hour, by a dear vendor's prices (an estimate)"
    assert notes[0] == f"judging {trials} trials costs about ${90 * trials:.2f}, {each}"
    assert f"of the $0.001 of --max-cost are spent: {trials - 1} trials were not judged" in notes[-1]
    count, notes = judged(tmp_path, "dear", max_cost=0.001)
    assert count == 1, "what earlier calls have spent is spent"
    assert f"{trials - 1} trials were not judged" in notes[-1], "the one that is judged is not among them"
    again, notes, _ = ran(tmp_path, "modal", features=[3, 4], max_cost=0.001, auto_eval=False, force=True)
    assert any("1 trials were not started" in note for note in notes), "judging is a cost of the run's"
    assert again["completed"] == trials
    count, notes = judged(tmp_path, "dear", max_cost=10_000)
    assert count == trials
    assert notes[0].startswith(f"judging {trials - 1} trials")
    count, notes = judged(tmp_path, "dear", max_cost=0.001)
    assert (count, notes) == (trials, []), "verdicts that hold cost nothing"


def test_no_ceiling_where_nothing_says_what_it_costs(tmp_path: Path) -> None:
    ran(tmp_path, "modal", auto_eval=False, features=[3, 4])
    with pytest.raises(UsageError, match="nothing says what judging on backend local costs"):
        judged(tmp_path, "local", max_cost=1)
