"""The gcp backend on a loopback cloud, as `get_backend` makes it."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import google.auth
import pytest
from google.auth.exceptions import DefaultCredentialsError

from cooperbench.eval import backends
from cooperbench.eval.backends.base import Sandbox
from cooperbench.eval.backends.checks import ConfiguredImage
from cooperbench.eval.backends.gcp import GCPBatchBackend
from cooperbench.eval.backends.gcp.sandbox import GCPSandbox
from tests.loopback.gcp import loopback
from tests.loopback.gcp.cloud import Cloud
from tests.loopback.gcp.vm.containers import Container

IMAGE = "registry.example/cooperbench/plain:1"
"""An image the registry has: this machine's programs."""

CONFIGURED = ConfiguredImage(
    "registry.example/cooperbench/configured:1", "BY_IMAGE", "a 'b' $c", "/the-entrypoint-ran"
)

WITNESS = Path(f"/dev/shm/obeyed-{os.getpid()}")
OBEYED = f"it's;$(touch {WITNESS})\n`touch {WITNESS}`"
"""A name that a careless shell program obeys, on a VM too: VMs have this machine's /dev."""

LIVE_IMAGE = "GCP_LIVE_IMAGE"

_clouds: list[Cloud] = []


@contextlib.contextmanager
def cloud(**settings: Any) -> Iterator[Cloud]:
    """A cloud whose registry has `IMAGE` and `CONFIGURED`."""
    with loopback(**settings) as made:
        made.zone.shelf.also(IMAGE, "host")
        env = {CONFIGURED.variable: CONFIGURED.value}
        made.zone.shelf.also(CONFIGURED.image, "host", env=env, entrypoint=f"touch {CONFIGURED.marker}")
        _clouds.append(made)
        try:
            yield made
        finally:
            _clouds.remove(made)


@contextlib.contextmanager
def backend_on(made: Cloud, **settings: Any) -> Iterator[GCPBatchBackend]:
    """A backend that finds its cloud by the environment, and leaves nothing on it."""
    backend = GCPBatchBackend(**settings) if settings else backends.get_backend("gcp")
    assert isinstance(backend, GCPBatchBackend)
    try:
        yield backend
    finally:
        backend.close()
    assert [record.name for record in made.batch.records()] == []
    assert made.traffic.unknown == []


@contextlib.contextmanager
def gcp() -> Iterator[GCPBatchBackend]:
    """A backend with a cloud of its own."""
    with cloud() as made, backend_on(made) as backend:
        yield backend


@contextlib.contextmanager
def live() -> Iterator[GCPBatchBackend]:
    """The real thing, with the credentials and the project of whoever runs this; it costs money."""
    try:
        _, project = google.auth.default()
    except DefaultCredentialsError as problem:
        pytest.skip(f"needs credentials for Google Cloud: {problem}")
    if LIVE_IMAGE not in os.environ or not (project or os.environ.get("GOOGLE_CLOUD_PROJECT")):
        pytest.skip(f"needs GOOGLE_CLOUD_PROJECT, and {LIVE_IMAGE}: an image with a shell, git and coreutils")
    backend = GCPBatchBackend()
    try:
        yield backend
    finally:
        backend.close()


def container_of(sandbox: Sandbox) -> Container:
    """What a sandbox is on its VM."""
    assert isinstance(sandbox, GCPSandbox)
    slot = sandbox.slot
    for made in _clouds:
        for record in made.batch.records():
            if record.name.endswith(f"/{slot.job_id}"):
                name = f"cooperbench-{record.job.uid}-{slot.index}-{slot.number}"
                (found,) = (each for vm in made.zone.made for each in vm.engine.all() if each.name == name)
                return found
    raise AssertionError(f"no job {slot.job_id}")


def kill(sandbox: Sandbox) -> None:
    """The container dies behind the backend's back."""
    container_of(sandbox).kill()
