"""The images of one state directory: an image is a stack of read-only layers, and a name stands for its digest.

    images/<hex>.json   {"schema", "digest", "layers": [ids, top first], "host", "env", "workdir", "user", …}
    names/<hash>.json   {"name", "digest"}
    layers/<id>/        a directory tree in overlay format (whiteouts as 0:0 devices, ``user.overlay.opaque``)

Whoever can produce such a layer can add an image: the recipes of `recipes` do, and everything in `store/`. The image
`host` is made when first asked for; ``dir:/path`` names a prepared directory and is used as it stands, with the
environment that ``/path.json`` beside it gives. An image is there only when all of its layers are.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cooperbench import atomic
from cooperbench.errors import SandboxStartError
from cooperbench.eval.backends.local import hostimage
from cooperbench.eval.backends.local.launcher import Launcher
from cooperbench.eval.backends.local.state import State
from cooperbench.eval.backends.local.store.claims import STORE, Claims
from cooperbench.eval.backends.local.store.reference import familiar

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
    workdir: str = ""
    """Where commands start if nobody says; empty: ``/``."""
    user: str = ""
    """Who commands run as, as in a Dockerfile's USER; empty: root."""


class NoSuchImage(SandboxStartError):
    """There is no image of this name here."""


class ImageStore:
    """The images of one state directory, as one process sees them."""

    def __init__(self, state: State, launcher: Launcher, claims: Claims) -> None:
        self._state = state
        self._launcher = launcher
        self.claims = claims
        self._lock = threading.Lock()
        self._host: Image | None = None

    # ------------------------------------------------------------------------------------------ finding

    def find(self, name: str) -> Image:
        """The image of this name or digest.

        Raises:
            NoSuchImage: there is none; the message says what to do.
        """
        if name == "host":
            return self.host()
        if name.startswith("dir:"):
            return _directory(Path(name[4:]))
        digest = name if name.startswith("sha256:") else self.digest(name)
        image = self._load(digest) if digest else None
        if image is None:
            raise NoSuchImage(
                f"local backend: image {name!r} is not here; there are `host`, `dir:/a/prepared/directory`, images "
                "by a dataset's recipe (`[recipe]` in its dataset.toml), and those `cooperbench images` pulls, "
                "imports and builds"
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

    def begin_use(self, image: Image) -> None:
        """Nobody removes the image until `end_use`.

        Raises:
            NoSuchImage: somebody just has.
        """
        if image.digest is None:
            return
        self.claims.use(image.digest)
        if not self._whole(image.layers):
            self.claims.release(image.digest)
            raise NoSuchImage(f"local backend: image {image.digest} was removed just now")
        with contextlib.suppress(OSError):
            os.utime(self._record(image.digest))  # what is used least recently is removed first

    def end_use(self, image: Image) -> None:
        """One use of the image is over."""
        if image.digest is not None:
            self.claims.release(image.digest)

    # ------------------------------------------------------------------------------------------ the host's

    def host(self) -> Image:
        """The image `host`; its layer is made now if this host has changed since the last."""
        with self._lock:
            if self._host is None:
                self._host = self._make_host()
            return self._host

    def _make_host(self) -> Image:
        key = hostimage.key()
        layer, digest = f"host-{key[:16]}", f"sha256:{key}"
        image = Image(digest, (f"layers/{layer}",), host=True, env=hostimage.environment())
        with self.claims.wanted([layer]), self._state.locked("host-layer"):
            if not self._whole(image.layers):
                self._unpack(hostimage.layer_archive(), image.layers[0])
            if not self.has(digest):
                self.add(image, ())
            self.claims.use(digest)  # for as long as this process lives
        return image

    def _unpack(self, archive: bytes, layer: str) -> None:
        """A new layer from a tar; complete or not at all."""
        unfinished = self._state.unfinished()
        body = os.memfd_create("layer")
        try:
            with os.fdopen(os.dup(body), "wb") as file:
                file.write(archive)
            self._launcher.ask("unpack", (body,), directory=unfinished)
        finally:
            os.close(body)
        os.rename(self._state.path / unfinished, self._state.path / layer)

    # ------------------------------------------------------------------------------------------ adding

    def add(
        self, image: Image, names: Sequence[str], *, config: bytes = b"", platform: str = "", origin: str = ""
    ) -> None:
        """Remember an image; its layers are there already.

        Args:
            config: the image's own configuration, if it has one.
            origin: where it can be had again; empty for what was made here.
        """
        assert image.digest
        record = {
            "schema": _SCHEMA,
            "digest": image.digest,
            "layers": [layer.removeprefix("layers/") for layer in image.layers],
            "host": image.host,
            "env": dict(image.env),
            "workdir": image.workdir,
            "user": image.user,
            "platform": platform,
            "origin": origin,
        }
        with self._state.locked(STORE):
            if config:
                atomic.write_bytes(self._config(image.digest), config)
            atomic.write_json(self._record(image.digest), record)
            for name in names:
                self.name(name, image.digest)

    def name(self, name: str, digest: str) -> None:
        """From now on, `name` is this image."""
        entry = {"name": familiar(name), "digest": digest}
        if atomic.read_json(self._name(name)) != entry:
            atomic.write_json(self._name(name), entry)

    # ------------------------------------------------------------------------------------------ records

    def _load(self, digest: str) -> Image | None:
        record: Any = atomic.read_json(self._record(digest))
        if not isinstance(record, dict) or record.get("schema") != _SCHEMA:
            return None
        layers = tuple(f"layers/{layer}" for layer in record["layers"])
        if not self._whole(layers):
            return None
        workdir, user = record.get("workdir", ""), record.get("user", "")
        return Image(digest, layers, bool(record["host"]), record["env"], workdir, user)

    def _whole(self, layers: Sequence[str]) -> bool:
        return all((self._state.path / layer).is_dir() for layer in layers)

    def _record(self, digest: str) -> Path:
        return self._state.path / "images" / _file(digest)

    def _config(self, digest: str) -> Path:
        return self._state.path / "configs" / _file(digest)

    def _name(self, name: str) -> Path:
        return self._state.path / "names" / f"{hashlib.sha256(familiar(name).encode()).hexdigest()}.json"


def _file(digest: str) -> str:
    return f"{digest.removeprefix('sha256:').replace('/', '_')}.json"


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
