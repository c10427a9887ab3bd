"""What sandboxes are made from: each image made ready once for a process, however many sandboxes ask for it."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from typing import Any

from cooperbench.errors import BackendError, SandboxStartError
from cooperbench.eval.backends.modal.connection import Connection, complaints

log = logging.getLogger(__name__)


class Images:
    """The images one backend object has at hand."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._lock = threading.Lock()
        self._locks: dict[str, threading.Lock] = {}
        self._ready: dict[str, tuple[str, Any]] = {}
        """Image → what it was made of, and the library's object for it."""
        self.building = threading.BoundedSemaphore(connection.settings.builds)
        """Held by whoever builds one, while nothing else has to be made ready for it."""

    def ready(self, image: str) -> Any:
        """The library's object for an image, hydrated: pulled from its registry unless it is at hand.

        Raises:
            SandboxStartError: it cannot be had.
        """
        with self._lock:
            found = self._ready.get(image)
        return found[1] if found is not None else self.made(image, "", lambda: self._pulled(image))

    def made(self, image: str, key: str, make: Callable[[], Any]) -> Any:
        """The same for an image that `make` makes, unless it was made of the very same `key`."""
        with self._lock:
            lock = self._locks.setdefault(image, threading.Lock())
        with lock:
            if image not in self._ready or self._ready[image][0] != key:
                begun = time.monotonic()
                self._ready[image] = key, make()
                log.info("image %s made ready on Modal in %.0f s", image, time.monotonic() - begun)
            return self._ready[image][1]

    def _pulled(self, image: str) -> Any:
        settings = self._connection.settings
        try:
            with self.building:
                return self._connection.call(self._pull(image), settings.build_patience)
        except TimeoutError as problem:
            raise SandboxStartError(
                f"image {image} was not ready on Modal after {settings.build_patience:g} s "
                "(build_patience in [backends.modal])"
            ) from problem
        except BackendError as problem:
            raise SandboxStartError(
                f"image {image} cannot be had on Modal: {problem}{_remedy(problem)}"
            ) from problem

    async def _pull(self, image: str) -> Any:
        connection = self._connection
        sdk, settings = connection.sdk, connection.settings
        with complaints("building it"):
            secret = None
            if settings.registry_secret:
                secret = sdk.Secret.from_name(
                    settings.registry_secret, environment_name=settings.environment or None
                )
            wanted = sdk.Image.from_registry(image, secret=secret).entrypoint([])
            return await wanted.build.aio(connection.app)


def _remedy(problem: BackendError) -> str:
    text = str(problem).lower()
    if "unauthorized" in text or "denied" in text or "authentication" in text:
        return " (does it exist? if it is private: registry_secret in [backends.modal])"
    if "manifest unknown" in text:
        return " (its registry does not have it)"
    return ""
