"""The image store: an image is a stack of read-only layers, and a name for its digest.

    images/<hex>.json   {"schema", "digest", "layers": [ids, top first], "host", "env"}
    names/<hash>.json   {"name", "digest"}
    layers/<id>/        a directory tree in overlay format (whiteouts as 0:0 devices, ``user.overlay.opaque``)

Whoever can produce such a layer can add an image: the recipes of `recipes` do, a registry client can. The image
`host` is made when first asked for; ``dir:/path`` names a prepared directory and is used as it stands, with the
environment that ``/path.json`` beside it gives.
"""

from __future__ import annotations

import hashlib
import logging
import os
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cooperbench import atomic
from cooperbench.errors import SandboxStartError
from cooperbench.eval.backends.local import hostimage
from cooperbench.eval.backends.local.launcher import Launcher
from cooperbench.eval.backends.local.state import State

log = logging.getLogger(__name__)

_SCHEMA = 1


@dataclass(frozen=True, slots=True)
class Image:
    """What a sandbox is made from."""

    digest: str | None
    layers: tuple[str, ...]
    """Directories, topmost first, relative to the state directory or absolute."""
    host: bool
    """The host's programs lie under the layers."""
    env: Mapping[str, str] = field(default_factory=dict)


class ImageStore:
    """The images of one state directory."""

    def __init__(self, state: State, launcher: Launcher) -> None:
        self._state = state
        self._launcher = launcher
        self._lock = threading.Lock()
        self._host: Image | None = None

    def find(self, name: str) -> Image:
        """The image of this name.

        Raises:
            SandboxStartError: there is none; the message says what to do.
        """
        if name == "host":
            return self.host()
        if name.startswith("dir:"):
            return _directory(Path(name[4:]))
        digest = name if name.startswith("sha256:") else self.digest(name)
        image = self._load(digest) if digest else None
        if image is None:
            raise SandboxStartError(
                f"local backend: image {name!r} is not here; it knows `host`, `dir:/a/prepared/directory` and images "
                "built by a dataset's recipe (`[recipe]` in its dataset.toml)"
            )
        return image

    def digest(self, name: str) -> str | None:
        """Digest of the image that goes by this name, None if there is none."""
        if name == "host":
            return self.host().digest
        entry = atomic.read_json(self._name(name))
        found = entry.get("digest") if isinstance(entry, dict) else None
        return found if isinstance(found, str) and self._load(found) else None

    def has(self, digest: str) -> bool:
        """The image is at hand."""
        return self._load(digest) is not None

    def host(self) -> Image:
        """The image `host`; its layer is made now if this host has changed since the last."""
        with self._lock:
            if self._host is None:
                self._host = self._make_host()
            return self._host

    def _make_host(self) -> Image:
        key = hostimage.key()
        layer = f"layers/host-{key[:16]}"
        with self._state.locked("host-layer"):
            if not (self._state.path / layer).is_dir():
                self._unpack(hostimage.layer_archive(), layer)
        return Image(f"sha256:{key}", (layer,), host=True, env=hostimage.environment())

    def _unpack(self, archive: bytes, layer: str) -> None:
        """A new layer from a tar; complete or not at all."""
        unfinished = f"{layer}.{self._state.owner}"
        body = os.memfd_create("layer")
        try:
            with os.fdopen(os.dup(body), "wb") as file:
                file.write(archive)
            self._launcher.ask("unpack", (body,), directory=unfinished)
        finally:
            os.close(body)
        os.rename(self._state.path / unfinished, self._state.path / layer)

    def add(self, image: Image) -> None:
        """Remember an image; its layers are there already."""
        assert image.digest
        record = {
            "schema": _SCHEMA,
            "digest": image.digest,
            "layers": [layer.removeprefix("layers/") for layer in image.layers],
            "host": image.host,
            "env": dict(image.env),
        }
        atomic.write_json(self._record(image.digest), record)

    def name(self, name: str, digest: str) -> None:
        """From now on, `name` is this image."""
        entry = {"name": name, "digest": digest}
        if atomic.read_json(self._name(name)) != entry:
            atomic.write_json(self._name(name), entry)

    def prune(self) -> list[str]:
        """Forget images no name stands for, and layers no image has. Only while nobody else is at work here."""
        lines, named = [], set()
        for path in (self._state.path / "names").glob("*.json"):
            entry = atomic.read_json(path)
            if isinstance(entry, dict):
                named.add(entry.get("digest"))
        used = set(self.host().layers)
        for path in (self._state.path / "images").glob("*.json"):
            record = atomic.read_json(path)
            if isinstance(record, dict) and record.get("digest") in named:
                used |= {f"layers/{layer}" for layer in record["layers"]}
            else:
                path.unlink(missing_ok=True)
        for layer in sorted(os.listdir(self._state.path / "layers")):
            if f"layers/{layer}" not in used:
                self._state.discard(f"layers/{layer}")
                lines.append(f"local: image layer {layer}, which no image uses")
        return lines

    def _load(self, digest: str) -> Image | None:
        record: Any = atomic.read_json(self._record(digest))
        if not isinstance(record, dict) or record.get("schema") != _SCHEMA:
            return None
        layers = tuple(f"layers/{layer}" for layer in record["layers"])
        if not all((self._state.path / layer).is_dir() for layer in layers):
            return None
        return Image(digest, layers, bool(record["host"]), record["env"])

    def _record(self, digest: str) -> Path:
        return self._state.path / "images" / f"{digest.removeprefix('sha256:').replace('/', '_')}.json"

    def _name(self, name: str) -> Path:
        return self._state.path / "names" / f"{hashlib.sha256(name.encode()).hexdigest()}.json"


def _directory(path: Path) -> Image:
    """A prepared root file system; ``PATH.json`` beside it may say what its environment is."""
    if not path.is_absolute() or not path.is_dir():
        raise SandboxStartError(f"local backend: image `dir:{path}`: not the absolute path of a directory")
    beside = path.with_name(path.name + ".json")
    if not beside.exists():
        return Image(None, (str(path),), host=False)
    configuration = atomic.read_json(beside)
    env = configuration.get("env", {}) if isinstance(configuration, dict) else None
    if not isinstance(env, dict) or not all(isinstance(value, str) for value in env.values()):
        raise SandboxStartError(f'local backend: {beside}: expected {{"env": {{"NAME": "value"}}}}')
    return Image(None, (str(path),), host=False, env=env)
