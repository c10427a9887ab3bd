"""Files into a sandbox and out of it, by the engine's archive calls."""

from __future__ import annotations

import io
import logging
import tarfile
from collections.abc import Iterator, Mapping
from typing import IO, TYPE_CHECKING, cast

from cooperbench.errors import BackendError
from cooperbench.eval.backends import shell
from cooperbench.eval.backends.archive import decompress, pack
from cooperbench.eval.backends.docker.engine import EngineGone, Refused, complaints
from cooperbench.eval.backends.docker.lane import new_word

if TYPE_CHECKING:
    from cooperbench.eval.backends.docker.sandbox import DockerSandbox

log = logging.getLogger(__name__)

_DIRECTORY = 1 << 31
"""The bit for it in a mode as the engine writes them."""

_MOST_PASSED_OVER = 1 << 30
"""Bytes of subdirectories, links and their like that are read past, at most."""


def put_files(sandbox: DockerSandbox, files: Mapping[str, bytes]) -> None:
    """Files by absolute path."""
    put(sandbox, "/", pack(files))


def put(sandbox: DockerSandbox, directory: str, archive: bytes) -> None:
    """See `base.ArchiveSandbox.put_archive`."""
    sandbox.raise_if_over()
    if directory != "/":
        made = sandbox.run(["mkdir", "-p", "--", directory], cwd="/")
        if made.returncode != 0:
            raise BackendError(f"{directory} cannot be made in the sandbox: {made.stderr_read().strip()}")
    if sandbox.seen_by_engine:
        mark = f".cooperbench-{new_word()[:16]}"
        try:
            with complaints(sandbox.engine, f"putting files under {directory}"):
                sandbox.engine.api.put_archive(
                    sandbox.container, directory, tarfile.TarInfo(mark).tobuf() + archive
                )
        except (EngineGone, Refused):
            sandbox.raise_if_lost()
            raise
        sandbox.seen_by_engine = sandbox.exec("rm", f"{directory.rstrip('/')}/{mark}").returncode != 1
    if not sandbox.seen_by_engine:
        log.info(
            "%s does not see the files of %s: putting them by commands", sandbox.engine.name, _short(sandbox)
        )
        shell.upload(sandbox, archive, directory)


def get(sandbox: DockerSandbox, directory: str, limit: int) -> bytes:
    """See `base.ArchiveSandbox.get_archive`."""
    sandbox.raise_if_over()
    try:
        if sandbox.seen_by_engine:
            return _get(sandbox, directory, limit)
    except (EngineGone, Refused) as problem:
        sandbox.raise_if_lost(patience=0)
        if not _is_missing(problem):
            raise
        if sandbox.exec("test", "-d", directory).returncode != 0:
            raise BackendError(f"no such directory in the sandbox: {directory} ({problem})") from problem
        sandbox.seen_by_engine = False
    except tarfile.TarError as problem:
        sandbox.raise_if_lost()
        raise BackendError(f"the engine sent a broken archive of {directory}: {problem}") from problem
    log.info(
        "%s does not see the files of %s: getting them by commands", sandbox.engine.name, _short(sandbox)
    )
    return decompress(shell.download(sandbox, directory, limit), limit)


def _short(sandbox: DockerSandbox) -> str:
    return f"container {sandbox.container[:12]}"


def _is_missing(problem: EngineGone | Refused) -> bool:
    return isinstance(problem, Refused) and (
        problem.status in (400, 404) or "not a directory" in problem.said
    )


def _get(sandbox: DockerSandbox, directory: str, limit: int) -> bytes:
    with complaints(sandbox.engine, f"getting {directory}"):
        # The dot: of a link to a directory, what it leads to.
        stream, status = sandbox.engine.api.get_archive(sandbox.container, f"{directory.rstrip('/')}/.")
        with _Reader(stream, limit + _MOST_PASSED_OVER) as reader:
            if not status.get("isDir", status.get("mode", _DIRECTORY) & _DIRECTORY):
                raise BackendError(f"no directory in the sandbox: {directory}")
            return _top_level(reader, directory, limit)


def _top_level(reader: _Reader, directory: str, limit: int) -> bytes:
    """The archive again, of the regular files directly in the directory alone."""
    buffer = io.BytesIO()
    with (
        tarfile.open(fileobj=cast("IO[bytes]", reader), mode="r|") as given,
        tarfile.open(fileobj=buffer, mode="w", format=tarfile.GNU_FORMAT) as kept,
    ):
        for member in given:
            path = [part for part in member.name.split("/") if part not in ("", ".")]
            if not member.isreg() or len(path) != 1:
                continue
            if buffer.tell() + member.size + tarfile.BLOCKSIZE > limit:
                raise BackendError(f"{directory} holds more than {limit} bytes")
            plain = tarfile.TarInfo(path[-1])
            plain.size, plain.mode, plain.mtime = member.size, member.mode, member.mtime
            kept.addfile(plain, given.extractfile(member))
    return buffer.getvalue()


class _Reader:
    """The engine's answer as a file to read, and no more of it than is reasonable."""

    def __init__(self, chunks: Iterator[bytes], most: int) -> None:
        self._chunks = iter(chunks)
        self._buffer = b""
        self._read = 0
        self._most = most

    def __enter__(self) -> _Reader:
        return self

    def __exit__(self, *_: object) -> None:
        close = getattr(self._chunks, "close", None)
        if close is not None:
            close()

    def read(self, size: int) -> bytes:
        while len(self._buffer) < size:
            chunk = next(self._chunks, b"")
            if not chunk:
                break
            self._read += len(chunk)
            if self._read > self._most:
                raise BackendError("there is too much beside the files that were asked for")
            self._buffer += chunk
        content, self._buffer = self._buffer[:size], self._buffer[size:]
        return content
