"""Branches and messages between containers: the same pair as on `local`."""

from __future__ import annotations

from pathlib import Path

from cooperbench.eval.backends.docker import DockerBackend
from tests.e2e.pushing import push_and_fetch


def test_one_pushes_the_other_builds_on_it_and_both_pass(backend: DockerBackend, tmp_path: Path) -> None:
    assert backend is not None  # there is an engine
    summary, trial = push_and_fetch("docker", tmp_path)
    assert (summary["eval"]["passed"], summary["messages_sent"]) == (1, 2)
    assert (trial.read_verdict() or {})["backend"] == "docker"
