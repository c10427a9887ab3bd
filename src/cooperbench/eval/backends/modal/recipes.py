"""Images by recipe: a script run once in a sandbox of the base, and Modal's snapshot of what it left.

A snapshot is remembered by everything that went in, in a file of the user's, so an unchanged recipe is found and a
changed one is built anew. Modal forgets a snapshot in time; then it is made again.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from cooperbench import atomic
from cooperbench.errors import BackendError, SandboxStartError
from cooperbench.eval.backends import building, shell
from cooperbench.eval.backends.base import Recipe, SandboxSpec
from cooperbench.eval.backends.doubt import short
from cooperbench.eval.backends.modal.connection import Connection, Gone, complaints
from cooperbench.eval.backends.modal.creating import Maker
from cooperbench.eval.backends.modal.images import Images
from cooperbench.eval.backends.modal.sandbox import ModalSandbox

log = logging.getLogger(__name__)

_SECONDS = 3600.0
_CONTEXT = "/build"
_SNAPSHOT = 600
"""Seconds a snapshot may take."""


class Recipes:
    """Makes images for one backend object."""

    def __init__(self, connection: Connection, images: Images, maker: Maker, memory: Path) -> None:
        """`memory`: directory in which snapshots are remembered."""
        self._connection = connection
        self._images = images
        self._maker = maker
        self._memory = memory

    def prepare(self, image: str, recipe: Recipe) -> str:
        """The digest of the image this recipe makes; `image` stands for it from now on.

        Raises:
            SandboxStartError: it cannot be made; the message says what to do.
        """
        building.need_script(image, recipe)
        base = self._base(image, recipe)
        if base == image:
            raise SandboxStartError(f"image {image}: its recipe is made on itself")
        key = building.key(base, recipe)
        self._images.made(image, key, lambda: self._remembered(key) or self._built(image, base, recipe, key))
        return f"sha256:{key}"

    def _base(self, image: str, recipe: Recipe) -> str:
        if recipe.base != "host":
            return recipe.base
        if not self._connection.settings.host_image:
            raise SandboxStartError(
                f"image {image} is made on base `host`, this machine's programs, which Modal does not have: name an "
                "image with a shell, git and python3 as host_image in [backends.modal]"
            )
        return self._connection.settings.host_image

    def _remembered(self, key: str) -> Any | None:
        found = atomic.read_json(self._place(key))
        if not isinstance(found, dict) or not isinstance(found.get("image"), str):
            return None
        try:
            return self._connection.call(self._look_up(found["image"]))
        except Gone:
            log.info("Modal has forgotten snapshot %s", found["image"])
            return None
        except BackendError as problem:
            raise SandboxStartError(str(problem)) from problem

    async def _look_up(self, image_id: str) -> Any:
        with complaints("looking up a snapshot"):
            known = self._connection.sdk.Image.from_id(image_id, self._connection.client)
            return await known.build.aio(self._connection.app)  # there is nothing to build: it is looked up

    def _built(self, image: str, base: str, recipe: Recipe, key: str) -> Any:
        log.info("building image %s with %s on %s, on Modal", image, recipe.script, base)
        ready = self._images.ready(base)
        spec = SandboxSpec(base, _SECONDS + 2 * _SNAPSHOT, _CONTEXT, recipe.network, {"image": image})
        with self._images.building:
            sandbox = self._maker.make(spec, ready)
            try:
                made = self._run(sandbox, image, recipe)
            except SandboxStartError:
                raise
            except BackendError as problem:
                raise SandboxStartError(f"image {image}: building it on Modal failed: {problem}") from problem
            finally:
                shell.terminate(sandbox)
        atomic.write_json(self._place(key), {"image": made.object_id})
        return made

    def _run(self, sandbox: ModalSandbox, image: str, recipe: Recipe) -> Any:
        """Run the recipe's script, and take the snapshot."""
        sandbox.put_archive(_CONTEXT, building.archive(recipe))
        done = sandbox.run(["sh", "-eu", f"{_CONTEXT}/{recipe.script}"], timeout=_SECONDS)
        building.complain(image, recipe, done)
        # What lies there is the recipe's own, and a way to more than an agent should know.
        gone = sandbox.run(["sh", "-c", "rm -rf /build /tmp/* /tmp/.[!.]* /tmp/..?*"], cwd="/")
        if gone.returncode != 0:
            raise SandboxStartError(f"image {image}: /build cannot be removed: {short(gone.stderr_read())}")
        return self._connection.call(self._snapshot(sandbox))

    async def _snapshot(self, sandbox: ModalSandbox) -> Any:
        with complaints("taking a snapshot"):
            return await sandbox.handle.snapshot_filesystem.aio(timeout=_SNAPSHOT)

    def _place(self, key: str) -> Path:
        """Where a snapshot is remembered: it is one workspace's, known by the app."""
        return self._memory / str(self._connection.app.app_id) / f"{key}.json"
