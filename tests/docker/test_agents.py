"""Real frameworks in containers: the bridge to the model and the bus are `exec` alone, so any backend will do."""

from __future__ import annotations

from pathlib import Path

import pytest

from cooperbench.eval.backends.docker import DockerBackend
from tests.e2e.models import CALLS, SCRIPTS, check_together, model, needs, run_pair, trial


@pytest.mark.parametrize("agent", SCRIPTS)
def test_a_pair_talks_pushes_submits_and_passes(
    agent: str, backend: DockerBackend, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    needs(agent)
    assert backend is not None  # there is an engine
    with model(SCRIPTS[agent], monkeypatch) as server:
        line = run_pair("boxed", agent, tmp_path / "logs", server, backend="docker", git_enabled=True)
    assert line["error"] is None
    assert len(server.bodies) == 2 * CALLS
    done = trial(tmp_path / "logs", "boxed")
    check_together(done)
    assert (done.read_verdict() or {})["backend"] == "docker"
