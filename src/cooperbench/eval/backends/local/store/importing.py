"""`images import`: from whatever a person names as the source to images in the store."""

from __future__ import annotations

import contextlib
import shutil
import sys
import tarfile
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO

from cooperbench.errors import SandboxStartError, UsageError
from cooperbench.eval.backends.local.engine import Engine
from cooperbench.eval.backends.local.images import Image
from cooperbench.eval.backends.local.store import imageconfig, layers, reference, rootfs, saved, streams
from cooperbench.eval.backends.local.store.incoming import Incoming, install
from cooperbench.eval.backends.local.store.layers import Stream

DAEMON = "docker-daemon:"


def bring(engine: Engine, source: str, name: str | None = None, platform: str | None = None) -> list[Image]:
    """Import what `source` holds.

    Args:
        source: a path (a saved image, an OCI layout, a root file system as an archive or directory), ``-`` for an
            archive on standard input, or ``docker-daemon:NAME`` for an image of a running engine.
        name: what to call it; None for the names it was saved under.
        platform: which of several; None for this machine's.

    Raises:
        UsageError: no such source, or it needs a name. SandboxStartError: it cannot be read or believed.
    """
    if name is not None:
        reference.parse(name)
    if source.startswith(DAEMON):
        return _from_daemon(engine, source.removeprefix(DAEMON), name)
    path = Path(source)
    if source != "-" and path.is_dir():
        if saved.is_layout(path):
            return _saved(engine, saved.Directory(path), source, name, platform)
        return [_flat(engine, Stream(None, lambda: rootfs.archive(path), 0), source, name)]
    with _opened(engine, source) as file:
        files = _archive(file, source)
        if "manifest.json" in files or "index.json" in files:
            return _saved(engine, files, source, name, platform)
        size = file.seek(0, 2)
        return [_flat(engine, Stream(None, lambda: _pieces(file), size), source, name)]


def _archive(file: IO[bytes], source: str) -> saved.Archive:
    try:
        return saved.Archive(file)
    except (tarfile.TarError, EOFError, ValueError) as problem:
        raise SandboxStartError(f"{source} is not a tar archive, or a damaged one ({problem})") from problem


def _pieces(file: IO[bytes]) -> Iterator[bytes]:
    file.seek(0)
    while piece := file.read(streams.PIECE):
        yield piece


@contextlib.contextmanager
def _opened(engine: Engine, source: str) -> Iterator[IO[bytes]]:
    """The archive as a file that can be read anywhere: compression undone, standard input kept on disk meanwhile."""
    with contextlib.ExitStack() as stack:
        if source == "-":
            file: IO[bytes] = sys.stdin.buffer
            head, plain = b"", False
        else:
            try:
                file = stack.enter_context(open(source, "rb"))
            except OSError as problem:
                raise UsageError(f"{source}: {problem.strerror}") from problem
            head = file.read(4)
            file.seek(0)
            plain = not streams.compressed(head)
        if plain:
            yield file
            return
        spool = stack.enter_context(tempfile.TemporaryFile(dir=engine.state.path / "partial"))
        _spool(engine, spool, streams.expanded(iter(lambda: file.read(streams.PIECE), b"")), source)
        yield spool


def _spool(engine: Engine, spool: IO[bytes], pieces: Iterable[bytes], what: str) -> None:
    """Keep an archive on disk, within bounds: what is compressed may be of any size."""
    total, reserve = 0, engine.settings.disk_reserve
    for piece in pieces:
        total += len(piece)
        if total > layers.LARGEST:
            raise SandboxStartError(f"{what} is longer than {layers.LARGEST >> 30} GiB")
        if shutil.disk_usage(engine.state.path).free < len(piece) + reserve:
            raise SandboxStartError(
                f"{what}: no space left but the {reserve >> 20} MiB kept free (disk_reserve)"
            )
        spool.write(piece)
    spool.flush()


def _saved(
    engine: Engine, files: saved.Files, source: str, name: str | None, platform: str | None
) -> list[Image]:
    found = saved.read(files, source, platform)
    if name is not None and len(found) != 1:
        there = ", ".join(each for _, names in found for each in names) or "none with a name"
        raise UsageError(
            f"{source} holds {len(found)} images ({there}): leave the name out to import them all"
        )
    made = []
    for image, names in found:
        named = (name,) if name is not None else names
        if not named:
            raise UsageError(f"{source} does not say what its image is called: add a name")
        made.append(install(engine.images, engine.unpacker, image, named))
    return made


def _flat(engine: Engine, stream: Stream, source: str, name: str | None) -> Image:
    """A root file system without a configuration."""
    if name is None:
        raise UsageError(f"{source} is a root file system without a name: add one")
    diff_id, _ = engine.unpacker.bring(stream, source)
    config = imageconfig.make([diff_id], f"import of {Path(source).name}", {})
    there = Stream(diff_id, stream.open, stream.size)
    return install(engine.images, engine.unpacker, Incoming(name, config, (there,)), (name,))


def _from_daemon(engine: Engine, image: str, name: str | None) -> list[Image]:
    """What `docker save` gives; the digest is the one the engine knows the image by."""
    from cooperbench.eval.backends.docker.config import Settings
    from cooperbench.eval.backends.docker.engine import complaints, connect
    from cooperbench.eval.backends.docker.images import digest

    docker = connect(Settings())
    try:
        with tempfile.TemporaryFile(dir=engine.state.path / "partial") as spool:
            with complaints(docker, f"saving image {image}"):
                known = digest(docker.api.inspect_image(image))
                _spool(engine, spool, docker.api.get_image(image, chunk_size=streams.PIECE), image)
            files = _archive(spool, f"{DAEMON}{image}")
            ((found, _),) = saved.read(files, image, None)
            incoming = Incoming(image, found.config, found.streams, digest=known)
            return [install(engine.images, engine.unpacker, incoming, (name or image,))]
    finally:
        docker.close()
