"""Fixtures: the machine's own engine."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from cooperbench.eval.backends.base import SandboxSpec
from cooperbench.eval.backends.docker import DockerBackend, DockerSandbox
from tests.docker import engines

Make = Callable[..., DockerSandbox]


@pytest.fixture(scope="session")
def backend() -> Iterator[DockerBackend]:
    with engines.docker(network="none") as backend:
        yield backend


@pytest.fixture(scope="session")
def podman() -> Iterator[DockerBackend]:
    with engines.podman(network="none") as backend:
        yield backend


@pytest.fixture(params=["backend", "podman"], ids=["docker", "podman"])
def either(request: pytest.FixtureRequest) -> DockerBackend:
    """One engine after the other."""
    backend = request.getfixturevalue(request.param)
    assert isinstance(backend, DockerBackend)
    return backend


@pytest.fixture
def make(backend: DockerBackend) -> Iterator[Make]:
    """``make(image, timeout=600)``: sandboxes that are gone after the test."""
    made: list[DockerSandbox] = []

    def create(
        image: str = engines.IMAGE, *, by: DockerBackend = backend, timeout: float = 600
    ) -> DockerSandbox:
        made.append(by.create(SandboxSpec(image, timeout)))
        return made[-1]

    yield create
    for sandbox in made:
        sandbox.terminate()


@pytest.fixture
def sandbox(make: Make) -> DockerSandbox:
    return make()
