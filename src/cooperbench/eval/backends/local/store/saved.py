"""Saved images: what `docker save` writes, and OCI layouts, as an archive or a directory."""

from __future__ import annotations

import json
import os
import posixpath
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, Protocol, cast

from cooperbench.errors import SandboxStartError
from cooperbench.eval.backends.local.store import imageconfig, manifests, streams
from cooperbench.eval.backends.local.store.incoming import Incoming
from cooperbench.eval.backends.local.store.layers import Stream

_MOST_MEMBERS = 100_000
_MOST_AT_ONCE = 8 << 20
"""Bytes of a member's long name and the like, which `tarfile` reads as one piece, however much that is."""


class Files(Protocol):
    """The files of a saved image."""

    def size(self, name: str) -> int:
        """Bytes of one. Raises FileNotFoundError."""
        ...

    def stream(self, name: str) -> Iterator[bytes]:
        """One, in pieces. Raises FileNotFoundError."""
        ...


class Directory:
    """Files below a directory."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def size(self, name: str) -> int:
        """See `Files`."""
        return (self._path / name).stat().st_size

    def stream(self, name: str) -> Iterator[bytes]:
        """See `Files`."""
        with (self._path / name).open("rb") as file:
            while piece := file.read(streams.PIECE):
                yield piece


class _Bounded:
    """As much of a file as `tarfile` reads with, in pieces of bounded size."""

    def __init__(self, file: IO[bytes]) -> None:
        self.seek = file.seek
        self.tell = file.tell
        self._file = file

    def read(self, size: int) -> bytes:
        """Up to `size` bytes. Raises ValueError: that is too much."""
        if not 0 <= size <= _MOST_AT_ONCE:
            raise ValueError(f"a header of {size} bytes")
        return self._file.read(size)


class Archive:
    """Files in an uncompressed tar, read from several threads at once.

    One of very many files has none here: it is no saved image, and a root file system for all that is known.
    """

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._places: dict[str, tuple[int, int]] = {}
        self._links: dict[str, str] = {}
        file.seek(0)
        with tarfile.open(fileobj=cast("IO[bytes]", _Bounded(file)), mode="r:") as tar:
            for count, member in enumerate(tar):
                if count > _MOST_MEMBERS:
                    self._places.clear()
                    self._links.clear()
                    return
                name = posixpath.normpath(member.name)
                if member.isreg():
                    self._places[name] = member.offset_data, member.size
                elif member.issym():  # an older engine's way of saying a layer twice
                    self._links[name] = posixpath.normpath(
                        posixpath.join(posixpath.dirname(name), member.linkname)
                    )
                elif member.islnk():
                    self._links[name] = posixpath.normpath(member.linkname)

    def __contains__(self, name: str) -> bool:
        return name in self._places

    def _place(self, name: str) -> tuple[int, int]:
        try:
            return self._places[self._links.get(name, name)]
        except KeyError:
            raise FileNotFoundError(2, os.strerror(2), name) from None

    def size(self, name: str) -> int:
        """See `Files`."""
        return self._place(name)[1]

    def stream(self, name: str) -> Iterator[bytes]:
        """See `Files`."""
        offset, left = self._place(name)
        while left:
            piece = os.pread(self._file.fileno(), min(left, streams.PIECE), offset)
            if not piece:
                raise SandboxStartError(f"the archive ends in the middle of {name}")
            offset, left = offset + len(piece), left - len(piece)
            yield piece


def read(files: Files, what: str, platform: str | None) -> list[tuple[Incoming, tuple[str, ...]]]:
    """Every image saved there, with the names it was saved under.

    Raises:
        SandboxStartError: it cannot be read, or is not what its digests promise.
    """
    try:
        if _has(files, "manifest.json"):
            return _docker_save(files, what)
        return _layout(files, what, platform)
    except FileNotFoundError as problem:
        raise SandboxStartError(f"{what}: it has no {problem.filename}") from problem
    except (ValueError, RecursionError, KeyError, TypeError, AttributeError) as problem:
        raise SandboxStartError(f"{what} cannot be read as a saved image: {problem!r}") from problem


def is_layout(path: Path) -> bool:
    """The directory is an OCI layout (or a `docker save` unpacked)."""
    return (path / "index.json").is_file() or (path / "manifest.json").is_file()


def _has(files: Files, name: str) -> bool:
    try:
        files.size(name)
    except FileNotFoundError:
        return False
    return True


def _content(files: Files, name: str, limit: int) -> bytes:
    if files.size(name) > limit:
        raise SandboxStartError(f"{name} is longer than {limit} bytes")
    return b"".join(files.stream(name))


# ---------------------------------------------------------------------------------------------- docker save


def _docker_save(files: Files, what: str) -> list[tuple[Incoming, tuple[str, ...]]]:
    found = []
    for entry in json.loads(_content(files, "manifest.json", manifests.LONGEST)):
        names = tuple(str(name) for name in entry.get("RepoTags") or ())
        config = _content(files, _below(entry["Config"]), imageconfig.LONGEST)
        diff_ids = imageconfig.parse(config, what).diff_ids
        parts = tuple(
            _plain(files, _below(name), diff_id)
            for name, diff_id in zip(entry["Layers"], diff_ids, strict=True)
        )
        found.append((Incoming(names[0] if names else what, config, parts), names))
    return found


def _below(name: Any) -> str:
    clean = posixpath.normpath(str(name))
    if clean.startswith(("/", "..")):
        raise SandboxStartError(f"a saved image names a file outside it: {name!r}")
    return clean


def _plain(files: Files, name: str, diff_id: str) -> Stream:
    return Stream(diff_id, lambda: files.stream(name), files.size(name))


# ---------------------------------------------------------------------------------------------- OCI layouts


def _layout(files: Files, what: str, platform: str | None) -> list[tuple[Incoming, tuple[str, ...]]]:
    index = manifests.parse(_content(files, "index.json", manifests.LONGEST), what)
    if not isinstance(index, manifests.Index):
        raise SandboxStartError(f"{what}: its index.json is no index")
    fitting = [
        each
        for each in index.manifests
        if not each.platform or manifests.fits(each.platform, platform or imageconfig.machine())
    ]
    if not fitting:
        raise SandboxStartError(
            manifests.not_for(what, [each.platform for each in index.manifests], platform)
        )
    return [
        (_image(files, top, what, platform), (top.name,) if ":" in top.name or "/" in top.name else ())
        for top in fitting
    ]


def _image(files: Files, top: manifests.Descriptor, what: str, platform: str | None) -> Incoming:
    found = manifests.parse(_blob(files, top, manifests.LONGEST), what)
    digest = top.digest
    while isinstance(found, manifests.Index):
        chosen = manifests.choose(found, platform, what)
        found = manifests.parse(_blob(files, chosen, manifests.LONGEST), what)
        digest = imageconfig.goes_by(digest, chosen.digest, platform)
    config = _blob(files, found.config, imageconfig.LONGEST)
    diff_ids = imageconfig.parse(config, what).diff_ids
    parts = tuple(
        _verified(files, layer, diff_id) for layer, diff_id in zip(found.layers, diff_ids, strict=True)
    )
    return Incoming(top.name or what, config, parts, digest=digest)


def _path(descriptor: manifests.Descriptor) -> str:
    return f"blobs/{descriptor.digest.replace(':', '/')}"


def _blob(files: Files, descriptor: manifests.Descriptor, limit: int) -> bytes:
    content = _content(files, _path(descriptor), limit)
    return b"".join(streams.verified([content], descriptor.digest, f"blob {descriptor.digest[:19]}"))


def _verified(files: Files, layer: manifests.Descriptor, diff_id: str) -> Stream:
    what = f"blob {layer.digest[:19]}"
    return Stream(
        diff_id,
        lambda: streams.verified(files.stream(_path(layer)), layer.digest, what),
        files.size(_path(layer)),
    )
