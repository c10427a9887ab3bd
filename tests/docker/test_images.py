"""Images pulled from a real registry on the loopback: once, patiently, by a mirror, within a budget."""

from __future__ import annotations

import contextlib
import json
import re
import secrets
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from cooperbench.errors import SandboxStartError
from cooperbench.eval.backends.docker import DockerBackend
from cooperbench.eval.backends.docker.images import Images
from tests.docker import engines
from tests.docker.registry import MANIFEST, Registry, credentials


@pytest.fixture
def registry() -> Iterator[Registry]:
    with contextlib.closing(Registry()) as registry:
        yield registry


@pytest.fixture
def name() -> str:
    return f"pulled-{secrets.token_hex(4)}"


@dataclass
class Told:
    """What was told of waits, and the pauses that were asked for instead of taken."""

    waits: list[tuple[str, str | None]] = field(default_factory=list)
    pauses: list[float] = field(default_factory=list)

    def listen(self, what: str, how_far: str | None) -> None:
        self.waits.append((what, how_far))


@contextlib.contextmanager
def _images(backend: DockerBackend, *names: str, **settings: object) -> Iterator[tuple[Images, Told]]:
    """Images with these settings; `names` are gone afterwards."""
    from cooperbench.eval.backends.docker.config import settings as checked

    told = Told()
    yield Images(backend._open()[0], checked(settings), tell=told.listen, pause=told.pauses.append), told
    for each in names:
        with contextlib.suppress(Exception):
            engines.engine_of(backend).remove_image(each, force=True)


def test_once_however_many_ask(either: DockerBackend, registry: Registry, name: str) -> None:
    image = f"{registry.address}/{name}:1"
    registry.add(name, secrets.token_bytes(100))  # which no other test's image has
    with _images(either, image) as (images, _):
        threads = [threading.Thread(target=images.ready, args=(image,)) for _ in range(10)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert registry.asked["blobs"] == 2
        assert images.find(image) is not None


def test_too_many_requests_are_waited_out(backend: DockerBackend, registry: Registry, name: str) -> None:
    image = f"{registry.address}/{name}:1"
    registry.refusals = 1000
    with _images(backend, image, pull_patience=0) as (images, told):
        with pytest.raises(SandboxStartError, match=r"cannot be pulled: .*toomanyrequests"):
            images.ready(image)
        assert told.pauses == []
    with _images(backend, image) as (images, told):

        def pause(seconds: float) -> None:
            told.pauses.append(seconds)
            registry.refusals = 1000 if len(told.pauses) < 3 else 0

        images._pause = pause
        images.ready(image)
        assert told.pauses == [15.0, 30.0, 60.0]
        shown = [how_far for what, how_far in told.waits if what == f"image {image}"]
        assert shown.count("its registry has had too many requests: asked again in 30 s") == 1
        assert shown[-1] is None


def test_how_far_a_pull_is_is_told(
    either: DockerBackend, registry: Registry, name: str, request: pytest.FixtureRequest
) -> None:
    image = f"{registry.address}/{name}:1"
    registry.add(name, secrets.token_bytes(8_000_000))
    with _images(either, image) as (images, told):
        images.ready(image)
    assert told.waits[0] == (f"image {image}", "pulling")
    assert told.waits[-1] == (f"image {image}", None)
    wanted = r"pulling, \d of 8 MB|unpacking"
    if "podman" in request.node.callspec.id:  # a layer that comes at once has no size there
        wanted = rf"{wanted}|pulling, \d of \d layers"
    assert any(re.fullmatch(wanted, how_far or "") for _, how_far in told.waits)


def test_missing_from_its_registry(either: DockerBackend, registry: Registry) -> None:
    registry.manifests[""] = (MANIFEST, b"{}")
    with (
        _images(either) as (images, _),
        pytest.raises(SandboxStartError, match="cannot be pulled"),
    ):
        images.ready(f"{registry.address}/none:1")


def test_a_mirror_is_asked_first(backend: DockerBackend, registry: Registry, name: str) -> None:
    image = f"somebody/{name}:3"
    source = f"{registry.address}/{image}"
    with _images(backend, image, source, mirror=registry.address) as (images, told):
        assert images.ready(image)["RepoDigests"]
    assert registry.asks(f"somebody/{name}")
    assert {what for what, _ in told.waits} == {f"image {source}"}


def test_what_the_mirror_does_not_have_comes_from_its_own_registry(
    backend: DockerBackend, registry: Registry, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    image = f"{registry.address}/{name}:1"
    with _images(backend, image, mirror="127.0.0.1:1") as (images, _):
        assert images.ready(image)["RepoDigests"]
    assert [r.message for r in caplog.records if r.message.startswith("the mirror does not have it: ")]


def test_the_digest_is_the_registrys(either: DockerBackend, registry: Registry, name: str) -> None:
    image = f"{registry.address}/{name}:1"
    with contextlib.closing(DockerBackend(network="none")) as pulling, _images(either, image):
        assert pulling.prepare_image(image, None) == registry.plain


def test_never(either: DockerBackend, registry: Registry, name: str) -> None:
    image = f"{registry.address}/{name}:1"
    with (
        _images(either, image, pull="never") as (images, _),
        pytest.raises(
            SandboxStartError, match=r"the settings say to pull none: docker pull .*pull = .missing."
        ),
    ):
        images.ready(image)
    assert registry.log == []
    with _images(either, image) as (images, _):
        images.ready(image)
        asked = len(registry.log)
        with _images(either, pull="never") as (other, _):
            assert other.ready(image)["Id"]
        assert len(registry.log) == asked


def test_always(either: DockerBackend, registry: Registry, name: str) -> None:
    image = f"{registry.address}/{name}:1"
    with _images(either, image, pull="always") as (images, _):
        images.ready(image)
        before = registry.asked["manifests"]
        images.ready(image)
        assert registry.asked["manifests"] == before
    with _images(either, image, pull="always") as (images, _):
        images.ready(image)
        assert registry.asked["manifests"] > before


# -------------------------------------------------------------------------------------------- who may pull


@pytest.mark.parametrize("auth", ["basic", "token"])
def test_credentials_are_those_of_docker_login(
    auth: str, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with contextlib.closing(Registry(auth)) as registry:
        image = f"{registry.address}/{name}:1"
        monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
        with (
            contextlib.closing(DockerBackend()) as stranger,
            _images(stranger, image) as (images, _),
            pytest.raises(SandboxStartError, match=r"cannot be pulled: .*docker login"),
        ):
            images.ready(image)
        logins = {"auths": {registry.address: {"auth": credentials()}}}
        (tmp_path / "config.json").write_text(json.dumps(logins))
        with contextlib.closing(DockerBackend()) as reader, _images(reader, image) as (images, _):
            assert images.ready(image)["RepoDigests"]
        assert bool(registry.asked["token"]) is (auth == "token")


# -------------------------------------------------------------------------------------------- the budget

MB = 1_000_000


def _add(registry: Registry, name: str, *sizes: int) -> list[str]:
    """Images of one layer in common and one of their own; their names."""
    common = secrets.token_bytes(3 * MB)
    names = [f"{name}-{number}" for number in range(len(sizes))]
    for each, size in zip(names, sizes, strict=True):
        registry.add(each, common, secrets.token_bytes(size))
    return [f"{registry.address}/{each}:1" for each in names]


def _there(images: Images, names: list[str]) -> list[bool]:
    return [images.find(each) is not None for each in names]


def test_a_budget_counts_a_layer_once(backend: DockerBackend, registry: Registry, name: str) -> None:
    names = _add(registry, name, MB, MB, 2 * MB)
    with _images(backend, *names, disk_budget=6 * MB) as (images, _):
        for each in names[:2]:
            images.ready(each)  # 3 in common, 1 and 1: together 5, not 8
        assert _there(images, names) == [True, True, False]
        with images.shelf.using(names[0]):
            pass  # the other is now needed least recently
        images.ready(names[2])
        assert _there(images, names) == [True, False, True]


def test_what_is_held_or_in_use_stays(
    backend: DockerBackend, registry: Registry, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    names = _add(registry, name, MB, MB, MB, MB)
    with _images(backend, *names, disk_budget=1) as (images, _):
        images.shelf.hold(names[0])
        images.ready(names[0])
        images.ready(names[1])
        container = engines.engine_of(backend).create_container(names[1], ["/none"])["Id"]
        try:
            images.ready(names[2])
            assert _there(images, names[:3]) == [True, True, True]
            assert [r.message for r in caplog.records if "more than the disk budget" in r.message][1:] == []
        finally:
            engines.engine_of(backend).remove_container(container)
        images.shelf.release(names[0])
        images.ready(names[3])
        assert _there(images, names) == [False, False, False, True]


@pytest.mark.parametrize("need", ["hold", "using"])
def test_what_is_wanted_while_it_is_taken_away_is_fetched_again(
    need: str, backend: DockerBackend, registry: Registry, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    (image,) = _add(registry, name, MB)
    with _images(backend, image, disk_budget=1 << 40) as (images, _):
        images.ready(image)
        shelf, api = images.shelf, engines.engine_of(backend)
        found, evicted, there = threading.Event(), threading.Event(), list[bool]()

        def work() -> None:
            if need == "hold":
                shelf.hold(image)
            with shelf.using(image) if need == "using" else contextlib.nullcontext():
                images.ready(image)
                found.set()
                assert evicted.wait(60)
                there.append(images.find(image) is not None)

        def remove(given: str) -> None:
            worker.start()
            while not (found.is_set() or _waits_in(worker, need)):
                time.sleep(0.001)
            removing(given)

        worker, removing = threading.Thread(target=work), api.remove_image
        monkeypatch.setattr(api, "remove_image", remove)
        shelf.budget = 1
        shelf.make_room()
        evicted.set()
        worker.join()
        assert there == [True]


def _waits_in(thread: threading.Thread, function: str) -> bool:
    """It waits for a condition there."""
    frame = sys._current_frames().get(thread.ident or 0)
    names = set()
    while frame is not None:
        names.add(frame.f_code.co_name)
        frame = frame.f_back
    return {function, "wait_for"} <= names


def test_what_was_there_before_is_nobodys_to_remove(
    backend: DockerBackend, registry: Registry, name: str
) -> None:
    before, ours = _add(registry, name, MB, MB)
    engines.engine_of(backend).pull(before.rpartition(":")[0], tag="1")
    with _images(backend, before, ours, disk_budget=1, pull="always") as (images, _):
        images.ready(before)
        images.ready(ours)
        images.shelf.make_room()
        assert _there(images, [before, ours]) == [True, False]


def test_a_mirrors_name_goes_too(backend: DockerBackend, registry: Registry, name: str) -> None:
    image, source = f"somebody/{name}:3", f"{registry.address}/somebody/{name}:3"
    with _images(backend, image, source, mirror=registry.address, disk_budget=1) as (images, _):
        images.ready(image)
        images.shelf.make_room()
        assert _there(images, [image, source]) == [False, False]


def test_the_backend_keeps_what_it_prepared_until_it_is_released(
    backend: DockerBackend, registry: Registry, name: str
) -> None:
    first, second = _add(registry, name, MB, MB)
    with _images(backend, first, second) as (images, _), contextlib.closing(DockerBackend()) as ours:
        assert ours.keep_within(1) == ours.keep_within(None) == 1
        ours.prepare_image(first, None)
        ours.prepare_image(second, None)
        assert _there(images, [first, second]) == [True, True]
        for each in (first, second, "never-heard-of"):
            ours.release_image(each)
        ours.close()
        assert _there(images, [first, second]) == [False, False]


# -------------------------------------------------------------------------------------------- other machines


def test_a_registry_that_has_it_for_other_machines_only(
    backend: DockerBackend, registry: Registry, name: str
) -> None:
    registry.add(name, b"x", architecture="s390x", listed=True)
    image = f"{registry.address}/{name}:1"
    with (
        _images(backend, image) as (images, _),
        pytest.raises(SandboxStartError, match=r"cannot be pulled: .*its registry has it for other machines"),
    ):
        images.ready(image)
