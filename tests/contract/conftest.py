"""The backends that are held to the contract, and what they are known not to keep."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field

import pytest

from cooperbench.eval import backends
from cooperbench.eval.backends.base import Closable, EvalBackend, Sandbox
from cooperbench.eval.backends.checks import ConfiguredImage
from tests.contract.foreign import ExecOnlyBackend
from tests.docker import engines


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
    "podman": Candidate(engines.podman, engines.IMAGE, kill=engines.kill, configured=engines.CONFIGURED),
}


@dataclass(frozen=True)
class Held:
    """A backend under examination."""

    backend: EvalBackend
    candidate: Candidate


@pytest.fixture(scope="session", params=CANDIDATES, name="held")
def _held(request: pytest.FixtureRequest) -> Iterator[Held]:
    candidate = CANDIDATES[request.param]
    with candidate.open() as backend:
        yield Held(backend, candidate)


@pytest.fixture(scope="session", name="sound")
def _sound() -> Iterator[EvalBackend]:
    """The backend that mutants are made of."""
    with local() as backend:
        yield backend
