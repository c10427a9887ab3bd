"""A project as the documentation's reader has it: a dataset in the working directory, a patch in a file."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from cooperbench import register_agent
from cooperbench.agents.gold import GoldAgent
from cooperbench.dataset import demo_dataset, load_dataset
from cooperbench.eval import backends
from cooperbench.eval.backends import shell
from cooperbench.eval.backends.base import Closable, EvalBackend

REPO, TASK = "llama_index_task", 1
"""The task the documentation speaks of; here it is a small one of the demo's, by that name."""


@pytest.fixture(scope="session", name="made")
def _made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The project, made once, its image built."""
    project = tmp_path_factory.mktemp("project")
    task = project / "dataset" / REPO / f"task{TASK}"
    shutil.copytree(demo_dataset() / "todosh_task" / "task0", task)
    shutil.copy(demo_dataset() / "dataset.toml", project / "dataset")
    chosen = {"name": "lite", "tasks": [{"repo": REPO, "task_id": TASK, "pairs": [[1, 3]]}]}
    (project / "dataset" / "subsets").mkdir()
    (project / "dataset" / "subsets" / "lite.json").write_text(json.dumps(chosen))
    (project / "path" / "to").mkdir(parents=True)
    shutil.copy(task / "feature1" / "feature.patch", project / "path" / "to" / "patch")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("COOPERBENCH_STATE_DIR", str(tmp_path_factory.mktemp("state")))
        backend = backends.get_backend("local")
        known = load_dataset(project / "dataset").task(REPO, TASK)
        shell.prepare_image(backend, known.image, known.recipe)
        assert isinstance(backend, Closable)
        backend.close()
        yield project


@pytest.fixture(name="project")
def _project(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A copy of the project as the working directory; nothing of this machine's user has a say."""
    opened: list[EvalBackend] = []
    original = backends.get_backend

    def noted(name: str) -> EvalBackend:
        opened.append(original(name))
        return opened[-1]

    shutil.copytree(made, tmp_path / "here")
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.delenv("COOPERBENCH_BACKEND", raising=False)
    monkeypatch.setattr(backends, "get_backend", noted)  # also puts back what a snippet puts there
    monkeypatch.setattr(backends, "_registered", {})
    yield tmp_path / "here"
    for backend in opened:  # the documentation's snippets leave that to the end of the process
        if isinstance(backend, Closable):
            backend.close()


@pytest.fixture(name="agents")
def _agents(project: Path) -> Iterator[Path]:
    """The documentation names no agent; here the default one is an oracle instead of a model."""
    from cooperbench.agents import registry
    from cooperbench.runner.spec import DEFAULT_AGENT

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(registry, "_registered", {})
        register_agent(DEFAULT_AGENT, GoldAgent)
        yield project
