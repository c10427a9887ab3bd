"""Layers and saved images out of plain values."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import stat
import tarfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cooperbench.eval.backends.local.engine import Engine
from cooperbench.eval.backends.local.store import imageconfig
from cooperbench.eval.backends.local.store.layers import Stream

BUSYBOX = Path("/bin/busybox")


def member(name: str, kind: bytes = tarfile.REGTYPE, **fields: Any) -> tarfile.TarInfo:
    """One member of an archive."""
    made = tarfile.TarInfo(name)
    made.type = kind
    made.mode = 0o755 if kind == tarfile.DIRTYPE else 0o644
    for field, value in fields.items():
        setattr(made, field, value)
    return made


def tar(
    members: Iterable[tuple[tarfile.TarInfo, bytes]], form: int = tarfile.PAX_FORMAT, **options: Any
) -> bytes:
    """An archive of these members."""
    buffer = io.BytesIO()
    with tarfile.open(
        fileobj=buffer, mode="w", format=form, encoding="utf-8", errors="surrogateescape", **options
    ) as archive:
        for info, content in members:
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


def files(contents: Mapping[str, bytes]) -> bytes:
    """An archive of plain files."""
    return tar([(member(name), content) for name, content in contents.items()])


def pieces(content: bytes, size: int = 10_000) -> Iterator[bytes]:
    """As a source gives it."""
    for at in range(0, len(content), size):
        yield content[at : at + size]


def digest(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def docker_save(layers: Sequence[bytes], name: str, config: Mapping[str, Any] | None = None) -> bytes:
    """What `docker save` would write."""
    value = {
        "architecture": imageconfig.machine().split("/")[1],
        "os": "linux",
        "config": config or {},
        "rootfs": {"type": "layers", "diff_ids": [digest(layer) for layer in layers]},
    }
    text = json.dumps(value).encode()
    names = [f"{index}/layer.tar" for index in range(len(layers))]
    manifest = [{"Config": "config.json", "RepoTags": [name], "Layers": names}]
    return files(
        {
            **dict(zip(names, layers, strict=True)),
            "config.json": text,
            "manifest.json": json.dumps(manifest).encode(),
        }
    )


def oci_layout(
    directory: Path, layers: Sequence[bytes], config: Mapping[str, Any] | None = None, platform: str = ""
) -> str:
    """An OCI layout with one image, its layers compressed; returns its digest."""
    platform = platform or imageconfig.machine()
    system, architecture = platform.split("/")
    value = {
        "architecture": architecture,
        "os": system,
        "config": config or {},
        "rootfs": {"type": "layers", "diff_ids": [digest(layer) for layer in layers]},
    }
    blobs = directory / "blobs" / "sha256"
    blobs.mkdir(parents=True, exist_ok=True)

    def put(content: bytes) -> dict[str, Any]:
        (blobs / digest(content)[7:]).write_bytes(content)
        return {"digest": digest(content), "size": len(content)}

    manifest = {
        "schemaVersion": 2,
        "config": put(json.dumps(value).encode()),
        "layers": [put(gzip.compress(layer, mtime=0)) for layer in layers],
    }
    top = {**put(json.dumps(manifest).encode()), "platform": {"os": system, "architecture": architecture}}
    (directory / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": [top]}))
    (directory / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')
    return str(top["digest"])


def unpack(engine: Engine, content: bytes) -> tuple[Path, list[str]]:
    """The layer an archive becomes, and what was worth a warning."""
    made, warnings = engine.unpacker.bring(Stream(None, lambda: pieces(content), len(content)), "the layer")
    return engine.state.path / "layers" / made[7:], warnings


@dataclass(frozen=True)
class Entry:
    """One path of a tree."""

    kind: str
    mode: int
    owner: tuple[int, int]
    content: str
    """sha256, or where a link leads."""


def listing(engine: Engine, root: Path) -> dict[str, Entry]:
    """A layer as the sandboxes' ids see it."""
    uid, gid = engine.ids.root
    found = {}
    for directory, directories, names in os.walk(root):
        for name in [*directories, *names]:
            path = Path(directory, name)
            status = path.lstat()
            kind = {stat.S_IFDIR: "d", stat.S_IFREG: "f", stat.S_IFLNK: "l", stat.S_IFCHR: "c"}.get(
                stat.S_IFMT(status.st_mode), "?"
            )
            content = ""
            if kind == "f":
                content = hashlib.sha256(path.read_bytes()).hexdigest()
            elif kind == "l":
                content = os.readlink(path)
            owner = status.st_uid - uid, status.st_gid - gid
            found[str(path.relative_to(root))] = Entry(kind, stat.S_IMODE(status.st_mode), owner, content)
    return found
