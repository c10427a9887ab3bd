"""Images pulled from a real registry on the loopback: once, patiently, by a mirror, within a budget."""

from __future__ import annotations

import contextlib
import secrets
import threading
from collections.abc import Iterator

import pytest

from cooperbench.errors import SandboxStartError
from cooperbench.eval.backends.docker import DockerBackend
from cooperbench.eval.backends.docker.images import Images
from tests.docker import engines
from tests.docker.registry import MANIFEST, Registry


@pytest.fixture
def registry() -> Iterator[Registry]:
    registry = Registry()
    yield registry
    registry.shutdown()
    registry.server_close()


@pytest.fixture
def name() -> str:
    return f"pulled-{secrets.token_hex(4)}"


@contextlib.contextmanager
def _images(backend: DockerBackend, *names: str, **settings: object) -> Iterator[tuple[Images, list[float]]]:
    """Images with these settings; the pauses they make are noted, not taken."""
    from cooperbench.eval.backends.docker.config import settings as checked

    pauses: list[float] = []
    yield Images(backend._open()[0], checked(settings), pause=pauses.append), pauses
    for each in names:
        with contextlib.suppress(Exception):
            engines.engine_of(backend).remove_image(each, force=True)


def test_once_however_many_ask(backend: DockerBackend, registry: Registry, name: str) -> None:
    image = f"{registry.address}/{name}:1"
    with _images(backend, image) as (images, _):
        threads = [threading.Thread(target=images.ready, args=(image,)) for _ in range(10)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert registry.asked["blobs"] == 2
        assert images.find(image) is not None


def test_too_many_requests_are_waited_out(backend: DockerBackend, registry: Registry, name: str) -> None:
    image = f"{registry.address}/{name}:1"
    registry.refusals = 100
    with _images(backend, image, pull_patience=0) as (images, pauses):
        with pytest.raises(SandboxStartError, match=r"cannot be pulled: .*toomanyrequests"):
            images.ready(image)
        assert pauses == []
    with _images(backend, image) as (images, pauses):
        images._pause = lambda seconds: (pauses.append(seconds), setattr(registry, "refusals", 0))  # type: ignore[func-returns-value]
        images.ready(image)
        assert pauses == [15.0]


def test_missing_from_its_registry(backend: DockerBackend, registry: Registry) -> None:
    registry.manifests[""] = (MANIFEST, b"{}")
    with (
        _images(backend) as (images, _),
        pytest.raises(SandboxStartError, match="cannot be pulled"),
    ):
        images.ready(f"{registry.address}/none:1")


def test_a_mirror(backend: DockerBackend, registry: Registry, name: str) -> None:
    image = f"somebody/{name}:3"
    with _images(backend, image, f"{registry.address}/{image}", mirror=registry.address) as (images, _):
        assert images.ready(image)["RepoDigests"]


def test_the_digest_is_the_registrys(backend: DockerBackend, registry: Registry, name: str) -> None:
    image = f"{registry.address}/{name}:1"
    with contextlib.closing(DockerBackend(network="none")) as pulling, _images(backend, image):
        assert pulling.prepare_image(image, None) == registry.plain


def test_always(backend: DockerBackend, registry: Registry, name: str) -> None:
    image = f"{registry.address}/{name}:1"
    with _images(backend, image, pull="always") as (images, _):
        images.ready(image)
        before = registry.asked["manifests"]
        images.ready(image)
        assert registry.asked["manifests"] == before
    with _images(backend, image, pull="always") as (images, _):
        images.ready(image)
        assert registry.asked["manifests"] > before


def test_the_budget(backend: DockerBackend, registry: Registry, name: str) -> None:
    names = [f"{registry.address}/{name}:{number}" for number in range(3)]
    with _images(backend, *names, disk_budget=1) as (images, _):
        for each in names:
            images.ready(each)
        assert [images.find(each) is not None for each in names] == [False, False, True]
