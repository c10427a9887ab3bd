"""The backend's door: settings in, sandboxes and images out; everything else is behind it."""

from __future__ import annotations

import logging
import os
import threading
from pathlib import Path
from typing import Any

from cooperbench.errors import SandboxStartError
from cooperbench.eval.backends.base import DEFAULT_WORKDIR, Listener, Recipe, SandboxSpec
from cooperbench.eval.backends.local import probe, recipes
from cooperbench.eval.backends.local.config import Settings
from cooperbench.eval.backends.local.engine import Engine
from cooperbench.eval.backends.local.images import NoSuchImage
from cooperbench.eval.backends.local.sandbox import LocalSandbox
from cooperbench.eval.backends.local.store.dockerbuild import Build
from cooperbench.eval.backends.local.store.provision import Provision

log = logging.getLogger(__name__)


class LocalBackend:
    """Sandboxes on this machine, from nothing but Linux and Python.

    Nothing starts before the first sandbox or image is asked for. Safe to use from any thread, and in a forked copy
    of the process, which gets an engine of its own.
    """

    name = "local"

    def __init__(self, **settings: Any) -> None:
        if settings.get("state_dir") is not None:
            settings["state_dir"] = Path(settings["state_dir"]).absolute()
        self._settings = Settings(**settings)
        self._provision = Provision(self._settings)
        self._lock = threading.Lock()
        self._engine: Engine | None = None

    @property
    def processors(self) -> int:
        """See `base.Sized`."""
        return len(os.sched_getaffinity(0))

    def create_sandbox(self, image: str, timeout: int = 600, workdir: str = DEFAULT_WORKDIR) -> LocalSandbox:
        """See `base.EvalBackend`."""
        return self.create(SandboxSpec(image, timeout, workdir))

    def create(self, spec: SandboxSpec) -> LocalSandbox:
        """See `base.SpecBackend`."""
        engine = self.engine()
        try:
            return engine.create(spec, self._provision.image(engine, spec.image))
        except NoSuchImage:  # removed after it was found: once more
            return engine.create(spec, self._provision.image(engine, spec.image))

    def prepare_image(self, image: str, recipe: Recipe | None) -> str | None:
        """See `base.ImageBackend`."""
        engine = self.engine()
        if recipe is not None:
            digest = recipes.prepare(engine, image, recipe)
            self._provision.hold(engine, image, digest)
            return digest
        return self._provision.kept(engine, image).digest

    def build_image(self, image: str, context: Path) -> str | None:
        """Build an image from the Dockerfile in `context`, steps done before excepted; returns its digest.

        Raises:
            UsageError: the Dockerfile asks for what is not built here. SandboxStartError: a step failed.
        """
        network = self._settings.build_network
        return Build(self.engine(), self._provision, image, context, network).run()

    def keep_within(self, size: int | None) -> int:
        """See `base.Budgeted`."""
        if size is not None:
            self._provision.budget = size
        return self._provision.budget

    def release_image(self, image: str) -> None:
        """See `base.Budgeted`."""
        if self._engine is not None:
            self._provision.release(self._engine, image)

    def fits_another(self) -> bool:
        """See `base.Foreseeing`."""
        return self._provision.fits_another(self.engine())

    def tell_by(self, listener: Listener) -> None:
        """See `base.Telling`."""
        self._provision.listener = listener

    @property
    def provision(self) -> Provision:
        """Where its images come from."""
        return self._provision

    def sweep(self) -> list[str]:
        """See `base.Sweeper`."""
        return self.engine().sweep()

    def close(self) -> None:
        """See `base.Closable`."""
        with self._lock:
            engine, self._engine = self._engine, None
        self._provision.forget()
        if engine is not None and engine.pid == os.getpid():
            engine.close()

    def diagnose(self) -> list[tuple[bool, str]]:
        """See `base.Diagnosable`."""
        return probe.diagnose(self._settings)

    def engine(self) -> Engine:
        """What makes the sandboxes; started when first asked for."""
        with self._lock:
            if self._engine is not None and self._engine.pid != os.getpid():
                self._engine = None  # a forked copy of the process: that one is the parent's
            if self._engine is None:
                self._engine = probe.start(self._settings)
            elif not self._engine.launcher.alive:
                log.warning("the zygote of the local backend died; starting another")
                self._engine.revive()
            return self._engine


__all__ = ["LocalBackend", "SandboxStartError"]
