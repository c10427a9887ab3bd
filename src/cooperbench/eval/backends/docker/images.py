"""Images on the engine: found, pulled once however many ask, kept within a budget, told apart by digest."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from cooperbench.errors import BackendError, SandboxStartError
from cooperbench.eval.backends.docker.config import Settings
from cooperbench.eval.backends.docker.engine import Engine, Refused, complaints, one_line

log = logging.getLogger(__name__)

_TELL_EVERY = 5.0
_FIRST_PAUSE = 15.0
_LONGEST_PAUSE = 600.0


class Images:
    """The images of one engine, as one backend object uses them."""

    def __init__(
        self, engine: Engine, settings: Settings, pause: Callable[[float], object] = time.sleep
    ) -> None:
        self._engine = engine
        self._settings = settings
        self._pause = pause
        self._lock = threading.Lock()
        self._locks: dict[str, threading.Lock] = {}
        self._seen: set[str] = set()
        self._pulled: dict[str, int] = {}
        """Image → bytes, least recently needed first: what may be evicted."""
        self._limited = threading.Lock()
        """Held while "too many requests" is waited out: the others would only add to them."""

    def ready(self, image: str) -> Mapping[str, Any]:
        """What the engine says of an image, which is pulled first if the settings want that.

        Raises:
            SandboxStartError: it is not there and cannot be pulled.
        """
        with self._lock_of(image):
            found = self.find(image)
            if self._settings.pull == "always" and image not in self._seen:
                found = self._pull(image)
            elif found is None:
                if self._settings.pull == "never":
                    raise SandboxStartError(
                        f"image {image} is not on {self._engine.name}, and the settings say to pull none: "
                        f'docker pull {image}, or pull = "missing" in [backends.docker]'
                    )
                found = self._pull(image)
            self._seen.add(image)
        self._needed(image)
        return found

    def find(self, image: str) -> Mapping[str, Any] | None:
        """What the engine says of an image; None if it has none of that name."""
        try:
            with complaints(self._engine, f"looking for image {image}"):
                return dict(self._engine.api.inspect_image(image))
        except Refused as refused:
            if refused.status in (400, 404):
                return None
            raise

    def _lock_of(self, image: str) -> threading.Lock:
        with self._lock:
            return self._locks.setdefault(image, threading.Lock())

    # ---------------------------------------------------------------------------------------- pulling

    def _pull(self, image: str) -> Mapping[str, Any]:
        self._make_room()
        source = f"{self._settings.mirror.rstrip('/')}/{image}" if self._settings.mirror else image
        begun = time.monotonic()
        log.info("pulling image %s", source)
        self._patiently(source)
        if source != image:
            self._rename(source, image)
        found = self.find(image)
        if found is None:
            raise SandboxStartError(f"image {image} was pulled and is not on {self._engine.name}")
        log.info("pulled image %s in %.0f s", source, time.monotonic() - begun)
        with self._lock:
            self._pulled[image] = int(found.get("Size") or 0)
        return found

    def _patiently(self, source: str) -> None:
        """Pull; a registry that has had too many requests is given time."""
        until = time.monotonic() + self._settings.pull_patience
        pause = _FIRST_PAUSE
        while True:
            with self._limited:
                pass  # nobody asks while somebody waits
            said = self._attempt(source)
            if said is None:
                return
            if not _too_many(said) or time.monotonic() + pause > until:
                raise SandboxStartError(f"image {source} cannot be pulled: {said}{_remedy(said)}")
            log.warning("the registry has had too many requests; pulling %s again in %.0f s", source, pause)
            with self._limited:
                self._pause(pause)
            pause = min(2 * pause, _LONGEST_PAUSE)

    def _attempt(self, source: str) -> str | None:
        """None once it is pulled, else what was said against it."""
        name, tag = _name_and_tag(source)
        progress = _Progress(source)
        try:
            with complaints(self._engine, f"pulling image {source}"):
                for event in self._engine.api.pull(name, tag=tag, stream=True, decode=True):
                    if event.get("error"):
                        return one_line(event["error"])
                    progress.take(event)
        except Refused as refused:
            return refused.said
        return None

    def _rename(self, source: str, image: str) -> None:
        name, tag = _name_and_tag(image)
        with complaints(self._engine, f"naming image {image}"):
            self._engine.api.tag(source, name, tag=None if "@" in image else tag, force=True)

    # ---------------------------------------------------------------------------------------- the budget

    def _needed(self, image: str) -> None:
        with self._lock:
            if image in self._pulled:
                self._pulled[image] = self._pulled.pop(image)

    def _make_room(self) -> None:
        """Before a pull: remove what was pulled and is needed least recently, until the rest is within the budget.

        The engine refuses to remove what a container uses; such an image stays.
        """
        budget = self._settings.disk_budget
        if not budget:
            return
        with self._lock:
            candidates = list(self._pulled.items())
        total = sum(size for _, size in candidates)
        for image, size in candidates:
            if total <= budget:
                return
            if self._evict(image):
                total -= size

    def _evict(self, image: str) -> bool:
        try:
            with complaints(self._engine, f"evicting image {image}"):
                self._engine.api.remove_image(image)
        except BackendError as problem:
            log.debug("%s", problem)
            return False
        log.info("evicted image %s to stay within the disk budget", image)
        with self._lock:
            self._pulled.pop(image, None)
        return True


class _Progress:
    """What a pull tells, as a line now and then."""

    def __init__(self, image: str) -> None:
        self._image = image
        self._layers: dict[str, tuple[int, int]] = {}
        self._told = time.monotonic()

    def take(self, event: Mapping[str, Any]) -> None:
        detail = event.get("progressDetail") or {}
        if event.get("status") == "Downloading" and detail.get("total"):
            self._layers[str(event.get("id"))] = (int(detail.get("current") or 0), int(detail["total"]))
        if self._layers and time.monotonic() - self._told > _TELL_EVERY:
            self._told = time.monotonic()
            done, total = (sum(each) / 1e6 for each in zip(*self._layers.values(), strict=True))
            log.info("pulling image %s: %.0f of %.0f MB", self._image, done, total)


def digest(found: Mapping[str, Any]) -> str | None:
    """What tells this image from every other: its digest in its registry, else its id on the engine."""
    digests: Iterable[str] = found.get("RepoDigests") or ()
    for each in sorted(digests):
        return each.rpartition("@")[2]
    image = str(found.get("Id") or "")
    return f"sha256:{image.removeprefix('sha256:')}" if image else None


def _name_and_tag(image: str) -> tuple[str, str]:
    if "@" in image:
        name, _, tag = image.partition("@")
        return name, tag
    name, colon, tag = image.rpartition(":")
    return (name, tag) if colon and "/" not in tag else (image, "latest")


def _too_many(said: str) -> bool:
    text = said.lower()
    return "toomanyrequests" in text or "too many requests" in text or "rate limit" in text


def _remedy(said: str) -> str:
    text = said.lower()
    if "unauthorized" in text or "denied" in text:
        return " (does it exist? if it is private: docker login)"
    if "manifest unknown" in text or "not found" in text:
        return " (its registry does not have it)"
    return ""
