"""Fixtures: an engine of the embedded sandbox with a state directory of its own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from cooperbench.eval.backends.local import LocalBackend
from cooperbench.eval.backends.local.engine import Engine
from tests.docker.registry import Registry


@pytest.fixture(scope="module")
def backend(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalBackend]:
    backend = LocalBackend(state_dir=tmp_path_factory.mktemp("state"))
    yield backend
    backend.close()


@pytest.fixture(scope="module")
def engine(backend: LocalBackend) -> Engine:
    return backend.engine()


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    """A file that no layer may touch."""
    path = tmp_path / "outside"
    path.write_text("safe")
    return path


def served(auth: str) -> Iterator[Registry]:
    """A small registry that asks its readers for `auth`."""
    server = Registry(auth)
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture
def registry() -> Iterator[Registry]:
    yield from served("")


@pytest.fixture
def fresh(tmp_path: Path) -> Iterator[LocalBackend]:
    backend = LocalBackend(state_dir=tmp_path / "state")
    yield backend
    backend.close()
