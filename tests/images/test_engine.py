"""Beside a real engine: its images imported are path by path, hash by hash what it says they are."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from cooperbench.eval.backends.docker import DockerBackend
from cooperbench.eval.backends.local import LocalBackend
from cooperbench.eval.backends.local.store.importing import bring
from tests.images.comparing import by_engine, by_sandbox, differences, docker
from tests.images.tricky import tricky_image


@pytest.fixture(scope="module")
def tricky(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with tricky_image(tmp_path_factory.mktemp("context")) as name:
        yield name


def test_a_saved_image_is_the_same(backend: LocalBackend, tricky: str, tmp_path: Path) -> None:
    path = tmp_path / "saved.tar"
    docker("save", "-o", str(path), tricky)
    (image,) = bring(backend.engine(), str(path))
    assert image.workdir == "/data/work"
    assert image.env["FOO"] == "a 'b' $c"
    theirs, ours = by_engine(tricky), by_sandbox(backend, tricky)
    assert len(theirs) > 1000
    assert theirs["/data/capable"][7] == ["security.capability"]
    assert differences(theirs, ours) == []


def test_from_the_running_engine(backend: LocalBackend, tricky: str) -> None:
    (image,) = bring(backend.engine(), f"docker-daemon:{tricky}", "taken:1")
    engine = DockerBackend(pull="never")
    assert image.digest == engine.prepare_image(tricky, None)
    engine.close()
    assert backend.prepare_image("taken:1", None) == image.digest


def test_on_standard_input(tricky: str, tmp_path: Path) -> None:
    program = f"""
from cooperbench.eval.backends.local import LocalBackend
from cooperbench.eval.backends.local.store.importing import bring
backend = LocalBackend(state_dir={str(tmp_path)!r})
bring(backend.engine(), "-", "piped:1")
sandbox = backend.create_sandbox("piped:1", workdir="")
print(sandbox.exec("pwd").stdout_read())
backend.close()
"""
    with subprocess.Popen(["docker", "save", tricky], stdout=subprocess.PIPE) as save:
        done = subprocess.run(
            [sys.executable, "-c", program], stdin=save.stdout, capture_output=True, text=True, check=False
        )
    assert done.stdout.strip() == "/data/work", done.stderr
    assert save.returncode == 0
