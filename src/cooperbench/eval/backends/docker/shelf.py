"""What this process brought onto an engine, and takes away again to keep within a disk budget.

Images share layers, so their sizes cannot be added up: a layer counts once, and is gone with the last image on it.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import threading
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from cooperbench.errors import BackendError
from cooperbench.eval.backends.docker.engine import Engine, Refused, complaints

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Brought:
    """One image that was not there before."""

    names: tuple[str, ...]
    """All it goes by: with a mirror there are two."""
    layers: Mapping[str, int]
    """Layer → bytes."""


class Shelf:
    """The images brought to one engine. Safe to use from any thread."""

    def __init__(self, engine: Engine, budget: int) -> None:
        self._engine = engine
        self.budget = budget
        """Bytes; 0: no bound."""
        self._brought: dict[str, Brought] = {}
        """By name, least recently needed first."""
        self._held: set[str] = set()
        self._in_use: Counter[str] = Counter()
        self._going = ""
        """The image that is being taken away."""
        self._lock = threading.Condition()
        self._evicting = threading.Lock()
        self._warned = False

    # ---------------------------------------------------------------------------------------- who needs what

    def hold(self, image: str) -> None:
        """Keep it until it is released. One that is just being taken away is gone when this returns."""
        with self._lock:
            self._lock.wait_for(lambda: self._going != image)
            self._held.add(image)

    def release(self, image: str) -> None:
        """It may go."""
        with self._lock:
            self._held.discard(image)

    @contextlib.contextmanager
    def using(self, image: str) -> Iterator[None]:
        """It is needed now, and stays meanwhile. One that is just being taken away is gone before."""
        with self._lock:
            self._lock.wait_for(lambda: self._going != image)
            self._in_use[image] += 1
            if image in self._brought:
                self._brought[image] = self._brought.pop(image)
        try:
            yield
        finally:
            with self._lock:
                self._in_use[image] -= 1

    # ---------------------------------------------------------------------------------------- what is there

    def bring(self, image: str, *more_names: str) -> None:
        """An image has just been brought; others may have to go for it."""
        layers: Mapping[str, int] = {}
        if self.budget:
            with complaints(self._engine, f"looking at the layers of image {image}"):
                layers = layer_sizes(self._engine.api.history(image))
        with self._lock:
            self._brought[image] = Brought((image, *more_names), layers)
        self.make_room(besides=image)

    def make_room(self, *, besides: str = "") -> None:
        """Take away what nobody needs until the rest is within the budget.

        Args:
            besides: an image that stays.
        """
        if not self.budget:
            return
        with self._evicting:
            stuck = {besides}
            while self._size() > self.budget:
                image = self._next(stuck)
                if image is None:
                    self._cannot()
                    return
                try:
                    if not self._evict(image):
                        stuck.add(image)
                finally:
                    with self._lock:
                        self._going = ""
                        self._lock.notify_all()

    def _next(self, stuck: set[str]) -> str | None:
        """What to take away; from now on nobody takes it into use before that is done."""
        with self._lock:
            for image in self._brought:
                if image not in stuck and not self._stays(image):
                    self._going = image
                    return image
        return None

    def _stays(self, image: str) -> bool:
        return image in self._held or self._in_use[image] > 0

    def fits_another(self) -> bool:
        """See `base.Foreseeing`."""
        if not self.budget:
            return True
        with self._lock:
            largest = max((sum(each.layers.values()) for each in self._brought.values()), default=0)
            staying = _together(each for image, each in self._brought.items() if self._stays(image))
        return 0 < largest <= self.budget - staying

    def _size(self) -> int:
        with self._lock:
            return _together(self._brought.values())

    def _evict(self, image: str) -> bool:
        """The engine refuses to remove what a container uses; such an image stays."""
        with self._lock:
            names = self._brought[image].names
        try:
            for name in reversed(
                names
            ):  # what it is asked for by comes last: it is the one to keep if it must stay
                self._remove(name)
        except BackendError as problem:
            log.debug("%s", problem)
            return False
        log.info("evicted image %s to stay within the disk budget", image)
        with self._lock:
            self._brought.pop(image, None)
        return True

    def _remove(self, name: str) -> None:
        try:
            with complaints(self._engine, f"evicting image {name}"):
                self._engine.api.remove_image(name)
        except Refused as refused:
            if refused.status != 404:
                raise

    def _cannot(self) -> None:
        if not self._warned:
            self._warned = True
            log.warning(
                "images in use take %.1f GB, more than the disk budget of %.1f GB",
                self._size() / 1e9,
                self.budget / 1e9,
            )


def _together(images: Iterable[Brought]) -> int:
    """Bytes, each layer counted once."""
    layers: dict[str, int] = {}
    for each in images:
        layers.update(each.layers)
    return sum(layers.values())


def layer_sizes(history: Sequence[Mapping[str, Any]]) -> dict[str, int]:
    """Layers out of what the engine says of an image's making, newest first.

    A layer is told from others by everything below it, for that is how images share them.
    """
    found: dict[str, int] = {}
    below = ""
    for step in reversed(history):
        size = int(step.get("Size") or 0)
        if size <= 0:
            continue
        told = f"{below} {step.get('Created')} {step.get('CreatedBy')} {size}"
        below = hashlib.sha256(told.encode("utf-8", "surrogateescape")).hexdigest()
        found[below] = size
    return found
