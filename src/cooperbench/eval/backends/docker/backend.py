"""The backend's door: settings in, sandboxes and images out; everything else is behind it."""

from __future__ import annotations

import os
import threading
import time
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from cooperbench.errors import CooperBenchError, MissingExtra, SandboxStartError
from cooperbench.eval.backends.base import DEFAULT_WORKDIR, Listener, Recipe, SandboxSpec
from cooperbench.eval.backends.docker import containers, probe, recipes, sweep
from cooperbench.eval.backends.docker.config import Settings, settings
from cooperbench.eval.backends.docker.engine import Engine, EngineGone, Refused, connect
from cooperbench.eval.backends.docker.images import Images, digest
from cooperbench.eval.backends.docker.sandbox import DockerSandbox


class DockerBackend:
    """Sandboxes as containers of a Docker engine, or of one that speaks its language.

    It is made with the settings that `config.Settings` lists, by name. Nothing is looked for before the first sandbox
    or image is asked for. Safe to use from any thread.
    """

    name = "docker"
    """As a verdict names it."""

    def __init__(self, **given: Any) -> None:
        if find_spec("docker") is None:
            raise MissingExtra("backend 'docker'", "docker")
        self._settings = settings(given)
        self._lock = threading.Lock()
        self._opened: tuple[Engine, Settings, Images] | None = None
        self._listener: Listener | None = None

    def create_sandbox(self, image: str, timeout: int = 600, workdir: str = DEFAULT_WORKDIR) -> DockerSandbox:
        """See `base.EvalBackend`."""
        return self.create(SandboxSpec(image, timeout, workdir))

    def create(self, spec: SandboxSpec) -> DockerSandbox:
        """See `base.SpecBackend`."""
        born = time.monotonic()
        engine, chosen, images = self._open()
        try:
            with images.shelf.using(spec.image):
                images.ready(spec.image)
                return DockerSandbox(engine, chosen, spec, born)
        except (EngineGone, Refused) as problem:
            raise SandboxStartError(str(problem)) from problem

    def prepare_image(self, image: str, recipe: Recipe | None) -> str | None:
        """See `base.ImageBackend`."""
        engine, chosen, images = self._open()
        images.shelf.hold(image)
        try:
            if recipe is not None:
                recipes.prepare(engine, chosen, images, image, recipe)
            return digest(images.ready(image))
        except (EngineGone, Refused) as problem:
            raise SandboxStartError(str(problem)) from problem

    def keep_within(self, size: int | None) -> int:
        """See `base.Budgeted`."""
        with self._lock:
            if size is not None and size != self._settings.disk_budget:
                self._settings = replace(self._settings, disk_budget=size)
                if self._opened is not None:
                    self._opened[2].shelf.budget = size
            return self._settings.disk_budget

    def release_image(self, image: str) -> None:
        """See `base.Budgeted`."""
        with self._lock:
            opened = self._opened
        if opened is not None:
            opened[2].shelf.release(image)

    def fits_another(self) -> bool:
        """See `base.Foreseeing`."""
        return self._open()[2].shelf.fits_another()

    def tell_by(self, listener: Listener) -> None:
        """See `base.Telling`."""
        self._listener = listener

    @property
    def processors(self) -> int:
        """See `base.Sized`."""
        return probe.processors(self._open()[0])

    def room(self) -> tuple[int, str]:
        """See `base.Roomy`."""
        engine, chosen, _ = self._open()
        return probe.room(engine, chosen)

    def sweep(self) -> list[str]:
        """See `base.Sweeper`."""
        engine = self._open()[0]
        containers.remove_unremoved(engine)
        return sweep.sweep(engine)

    def close(self) -> None:
        """See `base.Closable`."""
        with self._lock:
            opened, self._opened = self._opened, None
        if opened is not None and opened[0].pid == os.getpid():
            containers.remove_unremoved(opened[0])
            opened[2].shelf.make_room()
            opened[0].close()

    def diagnose(self) -> list[tuple[bool, str]]:
        """See `base.Diagnosable`."""
        try:
            return probe.diagnose(self._open()[0])
        except CooperBenchError as problem:
            return [(False, str(problem))]

    def build_image(self, image: str, context: Path) -> str | None:
        """Build an image from the Dockerfile in `context`, whatever there is of that name; returns its digest.

        Raises:
            SandboxStartError: it cannot be built.
        """
        engine, _, images = self._open()
        try:
            recipes.build(engine, image, context)
            return digest(images.ready(image))
        except (EngineGone, Refused) as problem:
            raise SandboxStartError(str(problem)) from problem

    def client(self) -> Any:
        """The client library's own object for the engine, an `APIClient`."""
        return self._open()[0].api

    def _open(self) -> tuple[Engine, Settings, Images]:
        with self._lock:
            # A connection is not for a forked copy of the process.
            if self._opened is None or self._opened[0].pid != os.getpid():
                engine = connect(self._settings)
                self._opened = engine, self._settings, Images(engine, self._settings, self._tell)
            return self._opened

    def _tell(self, what: str, how_far: str | None) -> None:
        if self._listener is not None:
            self._listener(what, how_far)
