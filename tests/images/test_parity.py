"""A task's container image judged on the embedded sandbox and on a real engine: the same Verdicts, image included."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from cooperbench.errors import SandboxStartError
from cooperbench.eval.backends.docker import DockerBackend
from cooperbench.eval.backends.local import LocalBackend
from cooperbench.eval.backends.local.store.importing import bring
from cooperbench.eval.sources import ready_image
from cooperbench.eval.supply import Supply
from tests.docker import engines
from tests.judging import parity


@pytest.fixture(scope="module")
def docker() -> Iterator[DockerBackend]:
    with engines.docker(network="none") as backend:
        yield backend


@pytest.mark.parametrize("name", ["clean merge", "conflict"])
def test_the_same_verdict(
    name: str, backend: LocalBackend, docker: DockerBackend, parity_cases: parity.Cases
) -> None:
    task = parity_cases.task(name)
    digest = ready_image(docker, task)
    if backend.engine().images.digest(task.image) is None:
        (image,) = bring(backend.engine(), f"docker-daemon:{task.image}")
        assert image.digest == digest
    there = parity_cases.verdict(docker, name)
    assert parity_cases.verdict(backend, name) == there
    parity.expect(there, parity_cases.asked[name])


def test_frozen_takes_no_other_image(backend: LocalBackend, parity_cases: parity.Cases) -> None:
    task = parity_cases.task("conflict in a script")
    supply = Supply(backend, [task], lambda _: None, recorded={})
    digest = supply.ready(task)
    assert digest is not None
    same = Supply(backend, [task], lambda _: None, recorded={task.image: digest}, frozen=True)
    assert same.ready(task) == digest
    other = Supply(backend, [task], lambda _: None, recorded={task.image: "sha256:00"}, frozen=True)
    with pytest.raises(SandboxStartError, match=f"is {digest} now; this run had sha256:00, and --frozen"):
        other.ready(task)
