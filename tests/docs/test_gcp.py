"""What documentation shows of gcp, run over loopback: the published calls as they stand, our page's snippets."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cooperbench import evaluate, run
from cooperbench.eval import backends
from tests.docs.test_snippets import DOCS, snippets
from tests.gcp import clouds
from tests.loopback.gcp.cloud import Cloud


@pytest.fixture(name="cloud")
def _cloud(agents: Path) -> Iterator[Cloud]:
    """A cloud whose registry has the project's image."""
    del agents
    with clouds.cloud() as made:
        yield made


@pytest.mark.usefixtures("cloud")
def test_published_calls() -> None:
    ran = run(run_name="gcp_run", subset="lite", backend="gcp")
    assert (ran["total_tasks"], ran["pass_rate"]) == (1, 1.0)
    judged = evaluate(run_name="gcp_run", backend="gcp", concurrency=200, force=True)
    assert (judged["passed"], judged["errors"]) == (1, 0)
    [verdict] = Path("logs/gcp_run").rglob("eval.json")
    assert json.loads(verdict.read_text())["backend"] == "gcp"
    [account] = json.loads(Path("logs/gcp_run/batches.json").read_text())
    assert account["judgements"] == 1


def test_our_page(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[Any] = []
    original = backends.get_backend
    monkeypatch.setattr(backends, "get_backend", lambda name: opened.append(original(name)) or opened[-1])
    blocks = [each for each in snippets("gcp.md") if each.kind == "python"]
    assert len(blocks) >= 3
    program: dict[str, Any] = {"__name__": "documentation"}
    for block in blocks:
        exec(compile("\n" * block.line + block.code, str(DOCS / "gcp.md"), "exec"), program)
    assert len(opened) == 3, "a run, its judging, and one by hand"
    assert cloud.traffic.unknown == []
    assert [record.name for record in cloud.batch.records()] == []
