"""Fixtures: a cloud on loopback for the whole session, and the backend on it."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from cooperbench.eval.backends.base import SandboxSpec
from cooperbench.eval.backends.modal import ModalBackend, ModalSandbox
from tests.loopback.modal import Cloud
from tests.modal import cloud as clouds

Make = Callable[..., ModalSandbox]


@pytest.fixture(scope="session", autouse=True)
def _home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """What the backend remembers on disk is these tests' own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_STATE_HOME", str(tmp_path_factory.mktemp("state")))
        yield


@pytest.fixture(scope="session", name="server")
def _server() -> Iterator[Cloud]:
    with clouds.cloud() as server:
        yield server


@pytest.fixture(scope="session", name="shared")
def _shared(server: Cloud) -> Iterator[ModalBackend]:
    with clouds.backend(server, network="none") as backend:
        yield backend


@pytest.fixture(name="cloud")
def _cloud(server: Cloud) -> Iterator[Cloud]:
    """The server, without faults and with a clean record."""
    server.desk.clear()
    yield server
    server.desk.clear()
    assert server.desk.refused == [], "calls the server does not know"
    assert server.desk.unauthenticated == []


@pytest.fixture(name="backend")
def _backend(shared: ModalBackend, cloud: Cloud) -> ModalBackend:
    """The backend, its image at hand and its tokens fetched: what is asked from now on is the test's."""
    shared.create_sandbox(clouds.IMAGE).terminate()
    cloud.desk.clear()
    return shared


@pytest.fixture(name="make")
def _make(backend: ModalBackend) -> Iterator[Make]:
    """``make(timeout=600)``: sandboxes that are gone after the test."""
    made: list[ModalSandbox] = []

    def create(timeout: float = 600, *, by: ModalBackend = backend) -> ModalSandbox:
        made.append(by.create(SandboxSpec(clouds.IMAGE, timeout)))
        return made[-1]

    yield create
    for sandbox in made:
        sandbox.terminate()


@pytest.fixture(name="sandbox")
def _sandbox(make: Make, cloud: Cloud) -> ModalSandbox:
    """A new one, the record clean after its creation."""
    made = make()
    cloud.desk.clear()
    return made
