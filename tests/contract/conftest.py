"""The backends that are held to the contract, and what they are known not to keep; an embedded one to oneself."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from cooperbench.eval import backends
from cooperbench.eval.backends.base import Closable, EvalBackend, Sandbox
from cooperbench.eval.backends.checks import ConfiguredImage
from cooperbench.eval.backends.local import LocalBackend
from cooperbench.eval.backends.modal import credentials
from tests.contract.foreign import ExecOnlyBackend
from tests.docker import engines
from tests.gcp import clouds
from tests.modal import cloud as modal_cloud

LIVE_IMAGE = "MODAL_LIVE_IMAGE"


@contextlib.contextmanager
def local() -> Iterator[EvalBackend]:
    backend = backends.get_backend("local")
    yield backend
    if isinstance(backend, Closable):
        backend.close()


@contextlib.contextmanager
def exec_only() -> Iterator[EvalBackend]:
    with local() as sound:
        yield ExecOnlyBackend(sound)


@contextlib.contextmanager
def modal() -> Iterator[EvalBackend]:
    with modal_cloud.cloud() as cloud, modal_cloud.backend(cloud, network="none") as backend:
        yield backend


@contextlib.contextmanager
def modal_live() -> Iterator[EvalBackend]:
    """Modal itself, with the credentials of whoever runs this."""
    if credentials.found() is None or LIVE_IMAGE not in os.environ:
        pytest.skip(
            f"needs credentials for Modal, and {LIVE_IMAGE}: an image with a shell, git and coreutils"
        )
    backend = backends.get_backend("modal")
    yield backend
    if isinstance(backend, Closable):
        backend.close()


@dataclass(frozen=True)
class Candidate:
    """How to have a backend, an image it has, and its known gaps: clause to reason."""

    open: Callable[[], AbstractContextManager[EvalBackend]]
    image: str
    gaps: Mapping[str, str] = field(default_factory=dict)
    kill: Callable[[Sandbox], None] | None = None
    """Makes a sandbox die behind the backend's back."""
    configured: ConfiguredImage | None = None


CANDIDATES = {
    "local": Candidate(local, "host"),
    "exec-only": Candidate(exec_only, "host"),
    "docker": Candidate(engines.docker, engines.IMAGE, kill=engines.kill, configured=engines.CONFIGURED),
    "modal": Candidate(modal, modal_cloud.IMAGE, kill=modal_cloud.kill, configured=modal_cloud.CONFIGURED),
    "podman": Candidate(engines.podman, engines.IMAGE, kill=engines.kill, configured=engines.CONFIGURED),
    "gcp": Candidate(clouds.gcp, clouds.IMAGE, kill=clouds.kill, configured=clouds.CONFIGURED),
}


@dataclass(frozen=True)
class Held:
    """A backend under examination."""

    backend: EvalBackend
    candidate: Candidate


LIVE = {
    "modal-live": Candidate(modal_live, os.environ.get(LIVE_IMAGE, "")),
    "gcp-live": Candidate(clouds.live, os.environ.get(clouds.LIVE_IMAGE, "")),
}
"""Held to it only where asked for by ``-m live``: they cost money, and whether they answer is not up to us."""

PARAMETERS = [*CANDIDATES, *(pytest.param(name, marks=pytest.mark.live) for name in LIVE)]


@pytest.fixture(scope="session", params=PARAMETERS, name="held")
def _held(request: pytest.FixtureRequest) -> Iterator[Held]:
    candidate = {**CANDIDATES, **LIVE}[request.param]
    with candidate.open() as backend:
        yield Held(backend, candidate)


@pytest.fixture(scope="session", name="sound")
def _sound() -> Iterator[EvalBackend]:
    """The backend that mutants are made of."""
    with local() as backend:
        yield backend


@pytest.fixture(scope="module", name="state")
def _state() -> Iterator[Path]:
    path = Path(tempfile.mkdtemp(prefix="cb-local-"))
    path.chmod(0o711)
    yield path
    shutil.rmtree(path, ignore_errors=True)


@pytest.fixture(scope="module", name="backend")
def _backend(state: Path) -> Iterator[LocalBackend]:
    backend = LocalBackend(state_dir=state)
    yield backend
    backend.close()
