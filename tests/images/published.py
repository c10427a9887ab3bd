"""The bundled dataset as if it were published: its images lie in a registry, and no recipe says how to make them."""

from __future__ import annotations

import json
import shutil
import tarfile
import tempfile
from pathlib import Path
from typing import Any

from cooperbench.dataset import demo_dataset, load_dataset
from cooperbench.eval.backends.docker import DockerBackend
from cooperbench.eval.sources import ready_image
from tests.docker import engines
from tests.docker.registry import Registry

REPOSITORIES = ("demo/almanac", "demo/gridline", "demo/todosh")
"""In the order in which a run wants them."""


def push(docker: DockerBackend, registry: Registry) -> None:
    """Make the dataset's images on an engine and put them into the registry."""
    for task in load_dataset(demo_dataset()).tasks.values():
        ready_image(docker, task)
        with tempfile.TemporaryFile() as saved:
            for piece in engines.engine_of(docker).get_image(task.image):
                saved.write(piece)
            saved.seek(0)
            config, layers = _read(saved)
        registry.add_image(f"demo/{task.repo.removesuffix('_task')}", config, layers)


def _read(saved: Any) -> tuple[dict[str, Any], list[bytes]]:
    with tarfile.open(fileobj=saved) as archive:

        def content(name: str) -> bytes:
            file = archive.extractfile(name)
            assert file is not None
            return file.read()

        (described,) = json.loads(content("manifest.json"))
        return json.loads(content(described["Config"])), [content(name) for name in described["Layers"]]


def lay_out(directory: Path, registry: Registry) -> Path:
    """The dataset; its directory."""
    shutil.copytree(demo_dataset(), directory)
    image = f"{registry.address}/demo/{{slug}}:task{{task_id}}"
    (directory / "dataset.toml").write_text(f'image = "{image}"\nnetwork = "none"\n')
    return directory
