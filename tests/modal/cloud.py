"""A cloud on loopback with images in it, and the backend as production makes it, led there by its environment."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from typing import Any
from unittest import mock

from cooperbench.eval.backends.checks import ConfiguredImage
from cooperbench.eval.backends.modal import ModalBackend, ModalSandbox
from tests.docker.engines import missing
from tests.loopback.modal import Cloud
from tests.loopback.modal.images import Reference

IMAGE = "registry.invalid/cooperbench-test/plain:1"
PRIVATE = "registry.invalid/cooperbench-test/private:1"
CONFIGURED = ConfiguredImage(
    "registry.invalid/cooperbench-test/configured:1", "BY_IMAGE", "a 'b' $c", "/the-entrypoint-ran"
)
PASSWORD = "s3cret"

REGISTRY = {
    IMAGE: Reference("host"),
    PRIVATE: Reference("host", password=PASSWORD),
    CONFIGURED.image: Reference(
        "host", {CONFIGURED.variable: CONFIGURED.value}, ("touch", CONFIGURED.marker)
    ),
}
"""This machine's own programs, in three guises."""

_running: list[Cloud] = []


@contextlib.contextmanager
def cloud(**wishes: Any) -> Iterator[Cloud]:
    """Modal on loopback; needs root, as its snapshots do."""
    if os.getuid() != 0:
        missing("needs root: the loopback server takes snapshots of other users' files")
    with Cloud(REGISTRY, **wishes) as server:
        server.control.secrets["registry"] = {"REGISTRY_USERNAME": "me", "REGISTRY_PASSWORD": PASSWORD}
        _running.append(server)
        try:
            yield server
        finally:
            _running.remove(server)


@contextlib.contextmanager
def led_to(server: Cloud) -> Iterator[None]:
    """The environment that leads the client library there, and nothing else of this machine's user."""
    with mock.patch.dict(os.environ, server.environment):
        yield


@contextlib.contextmanager
def backend(server: Cloud, **settings: Any) -> Iterator[ModalBackend]:
    """The backend, unhurried by the allowance for creations."""
    with led_to(server):
        made = ModalBackend(**{"creates_per_second": 0, "host_image": IMAGE, **settings})
        try:
            yield made
        finally:
            made.close()


def kill(sandbox: Any) -> None:
    """The sandbox's worker is gone, behind the backend's back."""
    assert isinstance(sandbox, ModalSandbox)
    next(server for server in _running if sandbox.id in server.boxes).kill(sandbox.id)
