"""Which image a name stands for on this backend: the one at hand, or one pulled now, as the settings want; and the room
images may take."""

from __future__ import annotations

import hashlib
import logging
import threading

from cooperbench.errors import SandboxStartError, UsageError
from cooperbench.eval.backends.base import Listener
from cooperbench.eval.backends.local.config import Settings
from cooperbench.eval.backends.local.engine import Engine
from cooperbench.eval.backends.local.images import Image, NoSuchImage
from cooperbench.eval.backends.local.store import gc, pulling, reference

log = logging.getLogger(__name__)


def _say_nothing(what: str, how_far: str | None) -> None:
    """Nobody listens."""


def _forget(_: str) -> None:
    """Nobody wants to know the digest."""


class Provision:
    """The images of one backend object. Safe to use from any thread."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._lock = threading.Lock()
        self._held: dict[str, str] = {}
        """Name → digest of what stays until it is released."""
        self._fresh: set[str] = set()
        """Names whose registries have been asked, where the settings want that."""
        self.budget = settings.budget
        """Bytes; 0: no bound."""
        self.listener: Listener = _say_nothing

    def kept(self, engine: Engine, name: str) -> Image:
        """As `image`, and it stays until it is released."""
        while True:
            found = self.image(engine, name, keep=True)
            self.hold(engine, name, found.digest)
            if found.digest is None or engine.images.has(found.digest):
                return found  # nobody removed it before it was held

    def image(self, engine: Engine, name: str, *, keep: bool = False) -> Image:
        """The image of this name, pulled first if the settings want that.

        Args:
            keep: one that is pulled is held before anything could remove it again.

        Raises:
            SandboxStartError: it is not here, and cannot be pulled or is not to be.
        """
        try:
            found = engine.images.find(name)
        except NoSuchImage as problem:
            if self._settings.pull == "never" or not _can_be_pulled(name):
                raise
            return self._pulled(engine, name, problem, keep)
        if self._settings.pull == "always" and _can_be_pulled(name) and name not in self._fresh:
            return self._renewed(engine, name, found, keep)
        return found

    def pull(self, engine: Engine, name: str, platform: str | None = None, *, keep: bool = False) -> Image:
        """Pull an image, whether it is here or not: its name may stand for another one now.

        Args:
            platform: ``os/architecture``; None: this machine's.
            keep: hold it from before it is there.

        Raises:
            UsageError: no image name. SandboxStartError: it cannot be pulled.
        """
        self.make_room(engine)
        known = (lambda digest: self.hold(engine, name, digest)) if keep else _forget
        wish = pulling.Wish(name, reference.parse(name), platform, known)
        try:
            made = pulling.pull(
                engine.images, engine.unpacker, self._settings, wish, lambda *told: self.listener(*told)
            )
        except BaseException:
            if keep:
                self.release(engine, name)
            raise
        self._fresh.add(name)
        self.make_room(engine, spared=made.digest or "")
        return made

    def _pulled(self, engine: Engine, name: str, why: NoSuchImage, keep: bool) -> Image:
        lock = hashlib.sha256(reference.familiar(name).encode()).hexdigest()[:32]
        with engine.state.locked(f"pull-{lock}"):  # whoever else wants it waits, and finds it
            try:
                return engine.images.find(name)
            except NoSuchImage:
                pass
            try:
                return self.pull(engine, name, keep=keep)
            except SandboxStartError as problem:
                raise SandboxStartError(f"{why}; {problem}") from problem

    def _renewed(self, engine: Engine, name: str, found: Image, keep: bool) -> Image:
        if "@" in name or pulling.current_digest(self._settings, name) == found.digest:
            self._fresh.add(name)
            return found
        return self.pull(engine, name, keep=keep)

    # ------------------------------------------------------------------------------------------ room

    def make_room(self, engine: Engine, spared: str = "") -> None:
        """Take away what nobody needs until the rest is within the budget."""
        if not self.budget:
            return
        for line in gc.make_room(engine.state, engine.claims, self.budget, spared):
            log.info("removed to stay within the disk budget: %s", line)
        engine.launcher.sweep()

    def fits_another(self, engine: Engine) -> bool:
        """See `base.Foreseeing`."""
        return not self.budget or gc.fits_another(engine.state, engine.claims, self.budget)

    def hold(self, engine: Engine, name: str, digest: str | None) -> None:
        """Keep it until it is released."""
        if digest is None:
            return
        engine.claims.use(digest)
        with self._lock:
            before, self._held[name] = self._held.get(name), digest
        if before is not None:
            engine.claims.release(before)

    def release(self, engine: Engine, name: str) -> None:
        """It may go."""
        with self._lock:
            digest = self._held.pop(name, None)
        if digest is not None:
            engine.claims.release(digest)

    def forget(self) -> None:
        """The engine is let go of, and what was kept with it."""
        with self._lock:
            self._held.clear()


def _can_be_pulled(name: str) -> bool:
    if name == "host" or name.startswith(("dir:", "sha256:")):
        return False
    try:
        reference.parse(name)
    except UsageError:
        return False
    return True
