"""The contract catches what it says it catches: each mutant breaks the clauses that are named for it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from cooperbench.eval.backends.base import EvalBackend
from cooperbench.eval.backends.checks import CHECKS, CheckFailed, ConfiguredImage, Subject, check
from tests.contract import fast_mutants, mutants

BY_NAME = {each.name: each for each in CHECKS}
MUTANTS = mutants.all_mutants()
CASES = [(mutant, name) for mutant in MUTANTS for name in mutant.caught_by]


class MutantBackend:
    """Makes sandboxes of one mutant, and remembers the sound ones inside them."""

    def __init__(self, sound: EvalBackend, mutant: type[mutants.Mutant]) -> None:
        self.sound, self.mutant = sound, mutant
        self.made: list[Any] = []

    def create_sandbox(self, image: str, timeout: int = 600, workdir: str = "/workspace") -> Any:
        sandbox = self.mutant.create(self.sound, image, timeout, workdir)
        self.made.append(sandbox.sound)
        return sandbox


@pytest.fixture(name="bred")
def _bred() -> Iterator[list[MutantBackend]]:
    bred: list[MutantBackend] = []
    yield bred
    for backend in bred:
        for sandbox in backend.made:
            sandbox.terminate()
    mutants.OneForAll.only = None


@pytest.mark.parametrize(("mutant", "name"), CASES, ids=[f"{m.__name__}-{name}" for m, name in CASES])
def test_mutant_is_caught(
    sound: EvalBackend, bred: list[MutantBackend], mutant: type[mutants.Mutant], name: str
) -> None:
    backend = MutantBackend(sound, mutant)
    bred.append(backend)
    with pytest.raises(CheckFailed):
        check(BY_NAME[name], Subject(backend, "host", patience=0.3), mutant.deadline)


def test_every_clause_catches_some_mutant() -> None:
    assert fast_mutants.WithRun in mutants.Mutant.__subclasses__()
    assert {name for _, name in CASES} == BY_NAME.keys() - {"image-config"}


class Configured(mutants.Mutant):
    """A sandbox of an image that sets PROBE and whose entrypoint would touch /entered."""

    def exec(self, *args: str) -> Any:
        return super().exec("env", "PROBE=set by the image", *args)


class IgnoresEnv(mutants.Mutant):
    """The same image, its ENV forgotten."""


class RunsEntrypoint(Configured):
    """The same image, its ENTRYPOINT run."""

    def exec(self, *args: str) -> Any:
        super().exec("touch", "/entered")
        return super().exec(*args)


@pytest.mark.parametrize(
    ("sandboxes", "kept"), [(Configured, True), (IgnoresEnv, False), (RunsEntrypoint, False)]
)
def test_image_configuration(
    sound: EvalBackend, bred: list[MutantBackend], sandboxes: type[mutants.Mutant], kept: bool
) -> None:
    backend = MutantBackend(sound, sandboxes)
    bred.append(backend)
    image = ConfiguredImage("host", "PROBE", "set by the image", "/entered")
    subject = Subject(backend, "host", configured=image)
    if kept:
        check(BY_NAME["image-config"], subject)
    else:
        with pytest.raises(CheckFailed):
            check(BY_NAME["image-config"], subject)
