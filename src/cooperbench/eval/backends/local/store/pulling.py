"""An image out of a registry: mirrors first, layers downloaded side by side and unpacked as they come.

What has come of a layer is kept until the layer is there, so that an attempt that was cut off, by the network or by
the end of the process, goes on where it was.
"""

from __future__ import annotations

import contextlib
import logging
import os
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from cooperbench.errors import SandboxStartError
from cooperbench.eval.backends.base import Listener
from cooperbench.eval.backends.local.config import Settings
from cooperbench.eval.backends.local.images import Image, ImageStore
from cooperbench.eval.backends.local.store import imageconfig, layers, manifests, reference, streams
from cooperbench.eval.backends.local.store.incoming import Incoming, install
from cooperbench.eval.backends.local.store.layers import Stream, Unpacker
from cooperbench.eval.backends.local.store.progress import Progress
from cooperbench.eval.backends.local.store.reference import HUB, Reference
from cooperbench.eval.backends.local.store.registry import Patience, Refused, Registry
from cooperbench.eval.backends.local.store.transport import Unreachable

log = logging.getLogger(__name__)

_ATTEMPTS = 5
"""At a blob whose connection breaks, in a row without a byte more."""


@dataclass(frozen=True, slots=True)
class Place:
    """A registry that may have the image."""

    registry: str
    repository: str
    plain: bool | None = None


@dataclass(frozen=True, slots=True)
class Wish:
    """What is to be pulled."""

    name: str
    """As it was asked for."""
    ref: Reference
    platform: str | None
    """``os/architecture``; None: this machine's, and nothing else will do."""
    known: Callable[[str], None]
    """Called with its digest, before anything of it is there."""


def places(ref: Reference, mirrors: Sequence[str]) -> Iterator[Place]:
    """Where to look, in this order: the mirrors, then the registry in the image's name."""
    below = ref.repository if ref.registry == HUB else f"{ref.registry}/{ref.repository}"
    for mirror in mirrors:
        scheme, _, rest = mirror.rpartition("://")
        registry, _, prefix = rest.rstrip("/").partition("/")
        plain = {"http": True, "https": False}.get(scheme)
        yield Place(registry, f"{prefix}/{below}" if prefix else below, plain)
    yield Place(ref.registry, ref.repository)


def pull(store: ImageStore, unpacker: Unpacker, settings: Settings, wish: Wish, tell: Listener) -> Image:
    """Bring an image out of its registry and give it its name.

    Raises:
        SandboxStartError: no place has it, or what it has is not to be believed.
    """
    name = wish.name
    progress = Progress(f"pulling image {name}", tell)
    patience = Patience(settings.pull_patience, progress.waits, time.sleep)
    where = list(places(wish.ref, settings.mirrors))
    try:
        for place in where:
            with contextlib.closing(
                Registry(place.registry, place.repository, patience, plain=place.plain)
            ) as registry:
                try:
                    incoming = _incoming(registry, unpacker, wish, progress)
                except (Refused, Unreachable) as problem:
                    if place is where[-1]:
                        raise SandboxStartError(f"image {name} cannot be pulled: {problem}") from problem
                    log.warning("image %s: mirror %s does not have it (%s)", name, place.registry, problem)
                    continue
                wish.known(incoming.goes_by)
                return install(store, unpacker, incoming, (wish.ref.familiar,))
        raise AssertionError("unreachable")
    finally:
        progress.over()


def current_digest(settings: Settings, name: str) -> str | None:
    """What a name stands for now, by the first place that answers; None when that is not told."""
    ref = reference.parse(name)
    patience = Patience(0, lambda _: None, time.sleep)
    for place in places(ref, settings.mirrors):
        with (
            contextlib.closing(
                Registry(place.registry, place.repository, patience, plain=place.plain)
            ) as registry,
            contextlib.suppress(Refused, Unreachable),
        ):
            return registry.digest(ref.wanted)
    return None


def _incoming(registry: Registry, unpacker: Unpacker, wish: Wish, progress: Progress) -> Incoming:
    what = wish.ref.familiar
    digest, content = registry.manifest(wish.ref.wanted)
    found = manifests.parse(content, what)
    while isinstance(found, manifests.Index):
        chosen = manifests.choose(found, wish.platform, what)
        found = manifests.parse(registry.manifest(chosen.digest)[1], what)
        digest = imageconfig.goes_by(digest, chosen.digest, wish.platform)
    config = _small(registry, found.config, f"image {what}: its configuration")
    parsed = imageconfig.parse(config, what)
    if not manifests.fits(parsed.platform, wish.platform or imageconfig.machine()):
        raise SandboxStartError(manifests.not_for(what, [parsed.platform], wish.platform))
    if len(parsed.diff_ids) != len(found.layers):
        raise SandboxStartError(
            f"image {what}: {len(found.layers)} layers, {len(parsed.diff_ids)} digests of layers"
        )
    if any(layer.size > layers.LARGEST for layer in found.layers):
        raise SandboxStartError(f"image {what}: a layer of more than {layers.LARGEST >> 30} GiB")
    pairs = list(zip(parsed.diff_ids, found.layers, strict=True))
    missing = {diff_id: layer for diff_id, layer in pairs if not unpacker.has(layers.name(diff_id))}
    progress.expect(len(missing), sum(layer.size for layer in missing.values()))
    partial = unpacker.state.path / "partial"
    return Incoming(
        what=what,
        config=config,
        streams=tuple(
            _Download(registry, partial, layer, diff_id, progress).stream() for diff_id, layer in pairs
        ),
        digest=digest,
        origin=what,
    )


def _small(registry: Registry, blob: manifests.Descriptor, what: str) -> bytes:
    found = b""
    for piece in streams.verified(registry.blob(blob.digest), blob.digest, what):
        found += piece
        if len(found) > imageconfig.LONGEST:
            raise SandboxStartError(f"{what} is longer than {imageconfig.LONGEST} bytes")
    return found


class _Download:
    """A layer's blob on its way here."""

    def __init__(
        self, registry: Registry, partial: Path, blob: manifests.Descriptor, diff_id: str, progress: Progress
    ) -> None:
        self._registry = registry
        self._blob = blob
        self._diff_id = diff_id
        self._progress = progress
        self._path = partial / f"{layers.name(diff_id)}.{blob.digest[7:23]}"

    def stream(self) -> Stream:
        """As a layer is brought in."""
        return Stream(self._diff_id, self._open, self._blob.size, self._done, self._spoilt)

    def _done(self) -> None:
        self._path.unlink(missing_ok=True)
        self._progress.layer()

    def _open(self) -> Iterator[bytes]:
        what = f"blob {self._blob.digest[:19]} of {self._registry.repository}"
        return streams.verified(self._pieces(), self._blob.digest, what)

    def _spoilt(self) -> None:
        self._path.unlink(missing_ok=True)

    def _pieces(self) -> Iterator[bytes]:
        """What came before, then the rest as it comes, which is kept as well."""
        with self._path.open("ab+") as kept:
            kept.seek(0)
            here = 0
            while piece := kept.read(streams.PIECE):
                here += len(piece)
                self._progress.came(len(piece))
                yield piece
            failures = 0
            while here < self._blob.size:
                before = here
                try:
                    for piece in self._registry.blob(self._blob.digest, here):
                        here += len(piece)
                        if here > self._blob.size:
                            raise SandboxStartError(
                                f"blob {self._blob.digest[:19]} is longer than its manifest says"
                            )
                        _write(kept.fileno(), piece)
                        self._progress.came(len(piece))
                        yield piece
                    break
                except Unreachable as problem:
                    failures = 1 if here > before else failures + 1
                    if failures >= _ATTEMPTS:
                        raise
                    log.info("%s: going on at byte %d (%s)", self._blob.digest[:19], here, problem)
                    time.sleep(min(failures, 3) - 0.5)


def _write(file: int, piece: bytes) -> None:
    left = memoryview(piece)
    while left:
        left = left[os.write(file, left) :]
