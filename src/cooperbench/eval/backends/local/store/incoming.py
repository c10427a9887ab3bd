"""An image on its way in, wherever it comes from: its configuration and its layers' streams, put into the store."""

from __future__ import annotations

import logging
import threading
from concurrent.futures import as_completed, wait
from dataclasses import dataclass

from cooperbench.crew import Crew
from cooperbench.errors import SandboxStartError
from cooperbench.eval.backends.local.images import Image, ImageStore
from cooperbench.eval.backends.local.store import imageconfig, layers
from cooperbench.eval.backends.local.store.layers import Stream, Unpacker

log = logging.getLogger(__name__)

_AT_ONCE = 4
"""Layers brought in at the same time."""


@dataclass(frozen=True, slots=True)
class Incoming:
    """One image."""

    what: str
    """Names it in messages."""
    config: bytes
    streams: tuple[Stream, ...]
    """Of the layers, the lowest first."""
    digest: str | None = None
    """What it goes by where it comes from; None: the digest of its configuration, as engines do."""
    origin: str = ""
    """Where it can be had again; empty when nothing says."""

    @property
    def goes_by(self) -> str:
        """Its digest in the store."""
        return self.digest or imageconfig.parse(self.config, self.what).digest


def install(store: ImageStore, unpacker: Unpacker, image: Incoming, names: tuple[str, ...]) -> Image:
    """Bring the layers that are missing, then the image, then its names; whatever fails leaves only whole layers.

    Raises:
        SandboxStartError: something of it cannot be had, read or believed.
    """
    config = imageconfig.parse(image.config, image.what)
    if len(config.diff_ids) != len(image.streams):
        raise SandboxStartError(
            f"image {image.what}: its configuration names {len(config.diff_ids)} layers, it has {len(image.streams)}"
        )
    if config.platform != imageconfig.machine():
        log.warning(
            "image %s is for %s, this machine is %s", image.what, config.platform, imageconfig.machine()
        )
    wanted: dict[str, Stream] = {}
    for diff_id, stream in zip(config.diff_ids, image.streams, strict=True):
        wanted.pop(layers.name(diff_id), None)
        wanted[layers.name(diff_id)] = stream
    digest = image.goes_by
    with store.claims.using(digest), store.claims.wanted(wanted):
        _bring(unpacker, list(wanted.values()), image.what)
        made = Image(
            digest=digest,
            # A layer that comes twice: its upper place says all that the lower one does.
            layers=tuple(f"layers/{layer}" for layer in reversed(wanted)),
            host=False,
            env=config.env,
            workdir=config.workdir,
            user=config.user,
        )
        store.add(made, names, config=image.config, platform=config.platform, origin=image.origin)
    return made


def _bring(unpacker: Unpacker, streams: list[Stream], what: str) -> None:
    missing = [stream for stream in streams if not unpacker.has(layers.name(str(stream.diff_id)))]
    todo = iter(missing)
    taking = threading.Lock()
    stop = threading.Event()

    def lane() -> None:
        while not stop.is_set():
            with taking:
                stream = next(todo, None)
            if stream is None:
                return
            name = f"image {what}: layer {str(stream.diff_id)[:19]}"
            for line in unpacker.bring(stream, name, stop)[1]:
                log.warning("%s", line)

    # A crew, for a download that hangs must not keep anybody from leaving.
    crew = Crew()
    lanes = [crew.submit(lane) for _ in missing[:_AT_ONCE]]
    try:
        for done in as_completed(lanes):
            done.result()
    except BaseException:  # Ctrl-C too: what is under way ends soon
        stop.set()
        wait(lanes)
        raise
