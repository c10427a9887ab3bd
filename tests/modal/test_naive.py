"""The obvious way to use Modal's client, as anybody would write it first, held to the contract: it must be caught."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from cooperbench.eval.backends.checks import CHECKS, Subject, examine
from tests.contract.foreign import Result
from tests.loopback.modal import Cloud
from tests.modal import cloud as clouds

BY_NAME = {each.name: each for each in CHECKS}
KEPT = ("exit-code", "streams", "argv", "files-persist")
BROKEN = (
    "not-utf8",  # text is decoded strictly
    "stdin-closed",  # it is left open, and a command that reads it hangs
    "after-terminate",  # the library's own exceptions come out
    "lost",
    "lifetime",
    "big-output",  # all of it is kept
)


class NaiveSandbox:
    """Exec, wait, read text."""

    def __init__(self, handle: Any) -> None:
        self.handle = handle

    def exec(self, *args: str) -> Result:
        process = self.handle.exec(*args)
        returncode = process.wait()
        return Result(returncode, process.stdout.read(), process.stderr.read())

    def terminate(self) -> None:
        self.handle.terminate()


class NaiveBackend:
    """A sandbox a call."""

    def __init__(self, client: Any) -> None:
        import modal

        self.modal, self.client = modal, client
        self.app = modal.App.lookup("naive", create_if_missing=True, client=client)

    def create_sandbox(self, image: str, timeout: int = 600, workdir: str = "/workspace") -> Any:
        handle = self.modal.Sandbox.create(
            "sleep",
            "infinity",
            app=self.app,
            client=self.client,
            image=self.modal.Image.from_registry(image).entrypoint([]),
            timeout=timeout,
            workdir=workdir,
            block_network=True,
        )
        return NaiveSandbox(handle)


@pytest.fixture(name="naive")
def _naive(cloud: Cloud) -> Iterator[NaiveBackend]:
    import modal

    with clouds.led_to(cloud):
        client = modal.Client.from_credentials(*cloud.credentials)
        yield NaiveBackend(client)
        client.close()


@pytest.mark.parametrize("name", KEPT)
def test_some_of_it_is_right(naive: NaiveBackend, name: str) -> None:
    assert examine(BY_NAME[name], Subject(naive, clouds.IMAGE)).outcome == "kept"


@pytest.mark.parametrize("name", BROKEN)
def test_the_rest_is_caught(naive: NaiveBackend, name: str) -> None:
    deadline = 4 if name == "stdin-closed" else 60
    assert examine(BY_NAME[name], Subject(naive, clouds.IMAGE), deadline=deadline).outcome == "broken"
