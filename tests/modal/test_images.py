"""What sandboxes are made from: registries, secrets, recipes, and what is remembered of them."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from cooperbench.errors import SandboxStartError
from cooperbench.eval.backends.base import Recipe, SandboxSpec
from cooperbench.eval.backends.modal import ModalBackend
from tests.loopback.modal import Cloud
from tests.modal import cloud as clouds

NAME = "cooperbench-test/by-recipe:1"


@pytest.fixture(name="recipe")
def _recipe(tmp_path: Path) -> Recipe:
    (tmp_path / "build.sh").write_text(
        "mkdir -p /srv/made; cp /build/given /srv/made; : >/tmp/left; rm -r /usr/local/bin"
    )
    (tmp_path / "given").write_text("given")
    return Recipe("host", tmp_path, "build.sh")


@pytest.fixture(name="fresh")
def _fresh(cloud: Cloud) -> Iterator[ModalBackend]:
    """A backend that has made nothing ready yet."""
    with clouds.backend(cloud, network="none") as backend:
        yield backend


def seen(backend: ModalBackend, image: str, script: str) -> str:
    sandbox = backend.create(SandboxSpec(image))
    try:
        return sandbox.exec("sh", "-c", script).stdout_read()
    finally:
        sandbox.terminate()


def test_a_recipe_is_run_once_and_remembered(fresh: ModalBackend, cloud: Cloud, recipe: Recipe) -> None:
    (recipe.context / "given").write_text("given once")
    digest = fresh.prepare_image(NAME, recipe)
    assert digest is not None
    assert digest.startswith("sha256:")
    look = "cat /srv/made/given; ls -d /build/* /tmp/left /usr/local/bin 2>/dev/null"
    assert seen(fresh, NAME, look) == "given once"
    assert fresh.prepare_image(NAME, recipe) == digest
    assert cloud.desk.counted()["TaskSnapshotFilesystem"] == 1
    with clouds.backend(cloud, network="none") as later:  # another process, as far as it can tell
        assert later.prepare_image(NAME, recipe) == digest
        assert seen(later, NAME, look) == "given once"
    assert cloud.desk.counted()["TaskSnapshotFilesystem"] == 1
    assert cloud.alive == []


def test_a_recipe_that_changes_or_is_forgotten_is_run_again(
    fresh: ModalBackend, cloud: Cloud, recipe: Recipe
) -> None:
    first = fresh.prepare_image(NAME, recipe)
    cloud.desk.clear()
    for image_id in cloud.images.snapshots:
        cloud.images.forget(image_id)
    with clouds.backend(cloud, network="none") as later:
        assert later.prepare_image(NAME, recipe) == first
        assert seen(later, NAME, "cat /srv/made/given") == "given"
    (recipe.context / "given").write_text("changed")
    with clouds.backend(cloud, network="none") as later:
        assert later.prepare_image(NAME, recipe) != first
        assert seen(later, NAME, "cat /srv/made/given") == "changed"
    assert cloud.desk.counted()["TaskSnapshotFilesystem"] == 2


def test_a_recipe_that_changes_under_a_backend(fresh: ModalBackend, recipe: Recipe) -> None:
    first = fresh.prepare_image(NAME, recipe)
    (recipe.context / "given").write_text("changed meanwhile")
    assert fresh.prepare_image(NAME, recipe) != first
    assert seen(fresh, NAME, "cat /srv/made/given") == "changed meanwhile"


def test_recipes_at_once_do_not_wait_for_each_other(cloud: Cloud, recipe: Recipe, tmp_path: Path) -> None:
    """As many at once as may be built, their base not at hand yet."""
    (tmp_path / "given").write_text("at once")
    with (
        clouds.backend(cloud, network="none", builds=1) as backend,
        ThreadPoolExecutor(3) as pool,
    ):
        names = [f"cooperbench-test/at-once:{number}" for number in range(3)]
        digests = set(pool.map(lambda name: backend.prepare_image(name, recipe), names))
        assert len(digests) == 1
        assert seen(backend, names[2], "cat /srv/made/given") == "at once"


def test_a_recipe_that_fails_says_its_last_line(fresh: ModalBackend, cloud: Cloud, recipe: Recipe) -> None:
    (recipe.context / "build.sh").write_text("echo it is broken >&2; exit 4")
    with pytest.raises(SandboxStartError, match=r"build\.sh ended with exit code 4: it is broken$"):
        fresh.prepare_image(NAME, recipe)
    assert cloud.alive == []


def test_the_host_is_not_in_the_cloud(cloud: Cloud, recipe: Recipe) -> None:
    with (
        clouds.backend(cloud, host_image="") as backend,
        pytest.raises(SandboxStartError, match=r"name an image .* as host_image in \[backends\.modal\]"),
    ):
        backend.prepare_image(NAME, recipe)


def test_an_image_no_registry_has(fresh: ModalBackend) -> None:
    with pytest.raises(
        SandboxStartError, match=r"manifest unknown.*\(its registry does not have it\)"
    ) as caught:
        fresh.prepare_image("registry.invalid/none:1", None)
    assert "\n" not in str(caught.value)


def test_a_private_image_wants_the_secret(fresh: ModalBackend, cloud: Cloud) -> None:
    with pytest.raises(SandboxStartError, match=r"registry_secret in \[backends\.modal\]"):
        fresh.prepare_image(clouds.PRIVATE, None)
    with clouds.backend(cloud, network="none", registry_secret="registry") as backend:
        backend.prepare_image(clouds.PRIVATE, None)
        assert seen(backend, clouds.PRIVATE, "echo in") == "in\n"
    with (
        clouds.backend(cloud, registry_secret="no-such") as backend,
        pytest.raises(SandboxStartError, match=r"Secret 'no-such' not found"),
    ):
        backend.prepare_image(clouds.PRIVATE, None)


def test_only_a_pinned_image_has_a_digest(fresh: ModalBackend) -> None:
    assert fresh.prepare_image(clouds.IMAGE, None) is None


def test_wishes_that_cannot_be_granted_ask_for_nothing(fresh: ModalBackend, cloud: Cloud) -> None:
    with pytest.raises(SandboxStartError, match="at most 24 hours"):
        fresh.create(SandboxSpec(clouds.IMAGE, 24 * 3600 + 1))
    with pytest.raises(SandboxStartError, match="run as root, not as 'nobody'"):
        fresh.create(SandboxSpec(clouds.IMAGE, user="nobody"))
    with pytest.raises(SandboxStartError, match="network `host` is this machine's own"):
        fresh.create(SandboxSpec(clouds.IMAGE, network="host"))
    assert cloud.desk.counted() == {}
