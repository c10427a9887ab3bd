"""The bundled dataset on an engine that has none of its images, and no registry to ask.

The engine is the test's own: on the machine's other tests may be using these images.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from cooperbench.cli import main
from cooperbench.dataset import demo_dataset, load_dataset
from tests.docker import daemon as daemons


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """An engine without images, found as users' engines are."""
    with daemons.running() as daemon:
        monkeypatch.setenv("DOCKER_HOST", daemon.address)
        yield


@pytest.mark.usefixtures("engine")
def test_images_are_built_and_the_demo_runs(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    images = [task.image for task in load_dataset(demo_dataset()).tasks.values()]
    assert main(["images", "build", "--demo", "--backend", "docker"]) == 0
    told = capsys.readouterr().out
    assert [line.split()[0] for line in told.splitlines()] == sorted(images)
    assert "sha256:" in told
    assert main(["demo", "--backend", "docker"]) == 0
    expected = json.loads((demo_dataset() / "expected.json").read_text())
    verdicts = {path.parent: json.loads(path.read_text()) for path in tmp_path.rglob("eval.json")}
    assert len(verdicts) == len(expected)
    for verdict in verdicts.values():
        pair = f"{verdict['repo']}/{verdict['task_id']}/{','.join(map(str, verdict['features']))}"
        assert verdict["passed"] is expected[pair]["passed"], pair
        assert verdict["merge"]["status"] == expected[pair]["merge"], pair
        assert verdict["backend"] == "docker"
