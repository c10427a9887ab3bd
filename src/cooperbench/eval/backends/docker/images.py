"""Images on the engine: found, pulled once however many ask, told apart by digest. What goes again: `shelf`."""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from cooperbench.errors import SandboxStartError
from cooperbench.eval.backends.base import Listener
from cooperbench.eval.backends.docker.config import Settings
from cooperbench.eval.backends.docker.engine import Engine, Refused, complaints, one_line
from cooperbench.eval.backends.docker.shelf import Shelf

log = logging.getLogger(__name__)

_TELL_EVERY = 1.0
_FIRST_PAUSE = 15.0
_LONGEST_PAUSE = 600.0


def _say_nothing(what: str, how_far: str | None) -> None:
    """Nobody listens."""


class Images:
    """The images of one engine, as one backend object uses them."""

    def __init__(
        self,
        engine: Engine,
        settings: Settings,
        tell: Listener = _say_nothing,
        pause: Callable[[float], object] = time.sleep,
    ) -> None:
        self._engine = engine
        self._settings = settings
        self._tell = tell
        self._pause = pause
        self.shelf = Shelf(engine, settings.disk_budget)
        self._lock = threading.Lock()
        self._locks: dict[str, threading.Lock] = {}
        self._seen: set[str] = set()
        self._limited = threading.Lock()
        """Held while "too many requests" is waited out: the others would only add to them."""
        self._waits = 0
        """How often that was done: of several refused at the same time, one waits for all."""

    def ready(self, image: str) -> Mapping[str, Any]:
        """What the engine says of an image, which is pulled first if the settings want that.

        Raises:
            SandboxStartError: it is not there and cannot be pulled.
        """
        with self._lock_of(image):
            found = self.find(image)
            if self._settings.pull == "always" and image not in self._seen:
                found = self._pull(image, known=found is not None)
            elif found is None:
                if self._settings.pull == "never":
                    raise SandboxStartError(
                        f"image {image} is not on {self._engine.name}, and the settings say to pull none: "
                        f'docker pull {image}, or pull = "missing" in [backends.docker]'
                    )
                found = self._pull(image)
            self._seen.add(image)
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

    @contextlib.contextmanager
    def telling(self, what: str, how_far: str) -> Iterator[None]:
        """Tell that this is waited for, while the block lasts."""
        self._tell(what, how_far)
        try:
            yield
        finally:
            self._tell(what, None)

    def _lock_of(self, image: str) -> threading.Lock:
        with self._lock:
            return self._locks.setdefault(image, threading.Lock())

    # ---------------------------------------------------------------------------------------- pulling

    def _pull(self, image: str, *, known: bool = False) -> Mapping[str, Any]:
        """Pull it; one that was `known` before is not ours to take away again."""
        self.shelf.make_room()
        sources = self._sources(image)
        theirs = {source for source in sources if source != image and self.find(source) is not None}
        begun = time.monotonic()
        source = self._from_the_first(sources)
        if source != image:
            self._rename(source, image)
        found = self.find(image)
        if found is None:
            raise SandboxStartError(f"image {image} was pulled and is not on {self._engine.name}")
        log.info("pulled image %s in %.0f s", source, time.monotonic() - begun)
        if not known:
            self.shelf.bring(image, *({source} - theirs - {image}))
        return found

    def _sources(self, image: str) -> list[str]:
        """What to pull it as: first from the mirror, if there is one and the engine can then give it its name."""
        if not self._settings.mirror:
            return [image]
        if "@" in image:
            log.warning("image %s: pulled past the mirror, for no engine gives a digest as a name", image)
            return [image]
        return [f"{self._settings.mirror.rstrip('/')}/{image}", image]

    def _from_the_first(self, sources: Sequence[str]) -> str:
        """Pull from the first of these that has it; which one that was."""
        for source in sources:
            log.info("pulling image %s", source)
            what = f"image {source}"
            try:
                with self.telling(what, "pulling"):
                    self._patiently(source, what)
                return source
            except SandboxStartError as problem:
                if source == sources[-1]:
                    raise
                log.warning("the mirror does not have it: %s", problem)
        raise AssertionError("unreachable")

    def _patiently(self, source: str, what: str) -> None:
        """Pull; a registry that has had too many requests is given time."""
        until = time.monotonic() + self._settings.pull_patience
        pause = _FIRST_PAUSE
        while True:
            if self._limited.locked():
                self._tell(what, "waiting for its registry, which has had too many requests")
            with self._limited:
                pass  # nobody asks while somebody waits
            said = self._attempt(source, what)
            if said is None:
                return
            if not _too_many(said) or time.monotonic() + pause > until:
                raise SandboxStartError(f"image {source} cannot be pulled: {said}{_remedy(said)}")
            log.info("the registry has had too many requests; pulling %s again in %.0f s", source, pause)
            self._tell(what, f"its registry has had too many requests: asked again in {pause:.0f} s")
            waits = self._waits
            with self._limited:
                if self._waits == waits:
                    self._pause(pause)
                    self._waits += 1
            pause = min(2 * pause, _LONGEST_PAUSE)

    def _attempt(self, source: str, what: str) -> str | None:
        """None once it is pulled, else what was said against it."""
        name, tag = name_and_tag(source)
        progress = _Progress()
        try:
            with complaints(self._engine, f"pulling image {source}"):
                for event in self._engine.api.pull(name, tag=tag, stream=True, decode=True):
                    if event.get("error"):
                        return one_line(event["error"])
                    if (far := progress.take(event)) is not None:
                        self._tell(what, far)
        except Refused as refused:
            return refused.said
        return None

    def _rename(self, source: str, image: str) -> None:
        name, tag = name_and_tag(image)
        with complaints(self._engine, f"naming image {image}"):
            self._engine.api.tag(source, name, tag=tag, force=True)


class _Progress:
    """How far a pull is, as a few words now and then.

    Podman says how much there is of a layer only once that has taken a while: until then layers are counted.
    """

    def __init__(self) -> None:
        self._done: dict[str, bool] = {}
        self._bytes: dict[str, tuple[int, int]] = {}
        self._told = 0.0

    def take(self, event: Mapping[str, Any]) -> str | None:
        """One event of a pull; words, if it is time for some."""
        detail = event.get("progressDetail") or {}
        status, layer = event.get("status"), str(event.get("id"))
        if status in ("Pulling fs layer", "Downloading", "Download complete"):
            self._done[layer] = self._done.get(layer, False) or status == "Download complete"
        if status == "Downloading" and detail.get("total"):
            if not self._bytes:
                self._told = 0.0
            self._bytes[layer] = (int(detail.get("current") or 0), int(detail["total"]))
        elif status == "Download complete" and layer in self._bytes:
            self._bytes[layer] = (self._bytes[layer][1],) * 2
        if not self._done or time.monotonic() - self._told < _TELL_EVERY:
            return None
        self._told = time.monotonic()
        return self._words()

    def _words(self) -> str:
        if not self._bytes:
            return f"pulling, {sum(self._done.values())} of {len(self._done)} layers"
        done, total = (sum(each) / 1e6 for each in zip(*self._bytes.values(), strict=True))
        return f"pulling, {done:.0f} of {total:.0f} MB" if done < total else "unpacking"


def digest(found: Mapping[str, Any]) -> str | None:
    """What tells this image from every other: its digest in its registry, else its id on the engine."""
    digests: Iterable[str] = found.get("RepoDigests") or ()
    for each in sorted(digests):
        return each.rpartition("@")[2]
    image = str(found.get("Id") or "")
    return f"sha256:{image.removeprefix('sha256:')}" if image else None


def name_and_tag(image: str) -> tuple[str, str]:
    """An image's name in two, as the engine wants it: with ``latest``, or the digest, for a tag."""
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
    if any(word in text for word in ("unauthorized", "denied", "credentials", "authentication")):
        return " (does it exist? if it is private: docker login)"
    if "no matching manifest" in text:
        return " (its registry has it for other machines than the engine's)"
    if "manifest unknown" in text or "not found" in text:
        return " (its registry does not have it)"
    return ""
