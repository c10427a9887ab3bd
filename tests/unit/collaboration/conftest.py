"""Agents in real sandboxes, connected by nothing but `exec`."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from cooperbench.eval.backends.local import LocalBackend
from tests.unit.collaboration.teams import Team


@pytest.fixture(scope="module")
def backend() -> Iterator[LocalBackend]:
    backend = LocalBackend()
    yield backend
    backend.close()


@pytest.fixture
def team(backend: LocalBackend) -> Iterator[Team]:
    team = Team(backend)
    yield team
    team.end()
