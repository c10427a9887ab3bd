"""One layer: a stream's compression undone and its digest taken here, its files made by a confined child of the zygote.

The two halves work at the same time, so a layer is unpacked while it is downloaded. It gets its name only when both are
through and the digest is the promised one; until then it lies in this process's part of the state directory, which is
collected when the process is gone.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from threading import Event

from cooperbench import atomic
from cooperbench.errors import MissingExtra, SandboxStartError
from cooperbench.eval.backends.local import launcher
from cooperbench.eval.backends.local.launcher import Launcher
from cooperbench.eval.backends.local.state import State
from cooperbench.eval.backends.local.store import streams

LARGEST = 64 << 30
"""Bytes of a layer's archive; more is taken for a bomb."""


@dataclass(frozen=True, slots=True)
class Stream:
    """A layer's archive on its way in."""

    diff_id: str | None
    """Digest of the archive when nothing compresses it; None where only unpacking will tell."""
    open: Callable[[], Iterator[bytes]]
    """Its bytes, compressed or not, held against the digest of what was promised."""
    size: int
    """Bytes to come, as far as known."""
    done: Callable[[], None] = lambda: None
    """Called when the layer is there: what was kept to go on from is not needed any more."""
    spoilt: Callable[[], None] = lambda: None
    """Called when it cannot become a layer: what was kept to go on from is of no use."""


@dataclass(frozen=True, slots=True)
class Unpacker:
    """Makes layers of one state directory."""

    state: State
    launcher: Launcher
    many_ids: bool
    reserve: int
    """Bytes of free disk below which nothing more is unpacked."""

    def has(self, layer: str) -> bool:
        """The layer is there, whole."""
        return (self.state.path / "layers" / layer).is_dir()

    def bring(self, stream: Stream, what: str, stop: Event | None = None) -> tuple[str, list[str]]:
        """The layer of this archive, unpacked now unless it is there: its digest, and what is worth a warning.

        Args:
            stop: once it is set, this ends as soon as it can.

        Raises:
            SandboxStartError: it cannot be read or unpacked, or is not what was promised; or it was stopped.
        """
        stop = stop or Event()
        if stream.diff_id is None:
            return self._unpack(stream, what, stop)
        layer = name(stream.diff_id)
        if self.has(layer):
            return stream.diff_id, []
        with self.state.locked(f"layer-{layer}"):  # whoever else wants it waits, and finds it
            if self.has(layer):
                return stream.diff_id, []
            return self._unpack(stream, what, stop)

    def _unpack(self, stream: Stream, what: str, stop: Event) -> tuple[str, list[str]]:
        directory = self.state.unfinished()
        try:
            return self._make(stream, directory, what, stop)
        except (streams.Interrupted, MissingExtra):
            raise
        except SandboxStartError:
            stream.spoilt()
            raise
        except OSError as problem:
            stream.spoilt()
            raise SandboxStartError(f"{what} cannot be unpacked: {problem.strerror}") from problem
        finally:
            self.state.discard(directory)

    def _make(self, stream: Stream, directory: str, what: str, stop: Event) -> tuple[str, list[str]]:
        diff_id, told = self._feed(stream, directory, what, stop)
        if stream.diff_id not in (None, diff_id):
            raise SandboxStartError(f"{what} is not what its image promises: {diff_id}, not {stream.diff_id}")
        layer = name(diff_id)
        atomic.write_json(self.state.path / "sizes" / layer, told["size"])
        with contextlib.suppress(FileExistsError):
            _rename(self.state.path / directory, self.state.path / "layers" / layer)
        stream.done()
        return diff_id, list(_warnings(told, what))

    def _feed(self, stream: Stream, directory: str, what: str, stop: Event) -> tuple[str, dict[str, int]]:
        source, sink = os.pipe()
        try:
            with contextlib.suppress(OSError):  # more than this user may have
                fcntl.fcntl(sink, fcntl.F_SETPIPE_SZ, streams.PIECE)
            try:
                answer = self.launcher.begin(
                    "layer", (source,), directory=directory, many_ids=self.many_ids, reserve=self.reserve
                )
            finally:
                os.close(source)
            try:
                diff_id = _pour(stream, sink, what, stop)
            except BaseException:
                os.close(sink)
                sink = -1
                launcher.read_answer(answer)  # it is over only when the child is
                raise
        finally:
            if sink >= 0:
                os.close(sink)
        try:
            return diff_id or "", launcher.answered(answer, "unpacking")
        except SandboxStartError as problem:
            raise SandboxStartError(f"{what} cannot be unpacked: {_reason(str(problem))}") from problem


def _pour(stream: Stream, sink: int, what: str, stop: Event) -> str | None:
    """The stream, expanded, into the pipe; its digest, None when the other end would not take it all."""
    found, total = hashlib.sha256(), 0
    try:
        for piece in streams.expanded(stream.open()):
            found.update(piece)
            total += len(piece)
            if stop.is_set():
                raise streams.Interrupted(f"{what}: stopped")
            if total > LARGEST:
                raise SandboxStartError(f"{what} is larger than {LARGEST >> 30} GiB")
            left = memoryview(piece)
            while left:
                left = left[os.write(sink, left) :]
    except BrokenPipeError:
        return None  # it says why
    except streams.Damaged as problem:
        raise streams.Damaged(f"{what}: {problem}") from problem
    return f"sha256:{found.hexdigest()}"


def name(diff_id: str) -> str:
    """A layer's directory."""
    return diff_id.removeprefix("sha256:")


def _rename(source: os.PathLike[str], target: os.PathLike[str]) -> None:
    try:
        os.rename(source, target)
    except OSError as problem:
        if problem.errno != errno.ENOTEMPTY:
            raise
        raise FileExistsError(problem.errno, problem.strerror) from problem


def _reason(told: str) -> str:
    return told.removeprefix("local backend: unpacking: ")


def _warnings(told: dict[str, int], what: str) -> Iterator[str]:
    if told["foreign"]:
        yield f"{what}: {told['foreign']} files have owners beyond the ids there are here; they are root's"
    if told["devices"]:
        yield f"{what}: {told['devices']} device files were left out"
