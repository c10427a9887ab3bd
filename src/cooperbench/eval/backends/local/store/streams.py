"""Streams of bytes, in pieces: compression undone, digests held against what was promised."""

from __future__ import annotations

import hashlib
import io
import zlib
from collections.abc import Iterable, Iterator
from typing import IO, Any, cast

from cooperbench.errors import MissingExtra, SandboxStartError

PIECE = 1 << 20
_GZIP = b"\x1f\x8b"
_ZSTD = b"\x28\xb5\x2f\xfd"
_WIDEST_WINDOW = 128 << 20


class Interrupted(SandboxStartError):
    """A stream stopped before its end, by no fault of what it holds: another attempt may go on from there."""


class Damaged(SandboxStartError):
    """A stream does not hold what it should."""


def compressed(head: bytes) -> bool:
    """Whether a stream that begins like this is compressed in a way known here."""
    return head.startswith((_GZIP, _ZSTD))


def expanded(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """What a stream holds when whatever compresses it (gzip, zstd, nothing) is undone.

    Raises:
        Damaged: it is. MissingExtra: it is zstd, and nothing here reads that.
    """
    pieces = iter(pieces)
    head = b""
    for piece in pieces:
        head += piece
        if len(head) >= 4:
            break
    whole = _chained(head, pieces)
    if head.startswith(_GZIP):
        yield from _gunzipped(whole)
    elif head.startswith(_ZSTD):
        yield from _unzstd(whole)
    else:
        yield from whole


def _chained(head: bytes, rest: Iterator[bytes]) -> Iterator[bytes]:
    if head:
        yield head
    yield from rest


def _gunzipped(pieces: Iterator[bytes]) -> Iterator[bytes]:
    """Any number of gzip members, one after the other."""
    inflate: Any = None
    try:
        for piece in pieces:
            while piece:
                if inflate is None:
                    piece = piece.lstrip(b"\0")  # padding between members
                    if not piece:
                        break
                    inflate = zlib.decompressobj(31)
                yield inflate.decompress(piece, PIECE)
                piece = inflate.unconsumed_tail
                if inflate.eof:
                    piece, inflate = inflate.unused_data, None
            while inflate is not None and (more := inflate.decompress(b"", PIECE)):
                yield more
    except zlib.error as problem:
        raise Damaged(f"damaged gzip data ({problem})") from problem
    if inflate is not None and not inflate.eof:
        raise Damaged("gzip data ends early")


def _unzstd(pieces: Iterator[bytes]) -> Iterator[bytes]:
    try:
        import zstandard
    except ImportError as problem:
        raise MissingExtra("a layer compressed with zstd", "zstd") from problem
    window = zstandard.ZstdDecompressor(max_window_size=_WIDEST_WINDOW)
    reader = window.stream_reader(cast("IO[bytes]", _File(pieces)), read_across_frames=True)
    try:
        while piece := reader.read(PIECE):
            yield piece
    except zstandard.ZstdError as problem:
        raise Damaged(f"damaged zstd data ({problem})") from problem


class _File(io.BufferedIOBase):
    """Pieces as a file."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces = pieces
        self._rest = b""

    def readable(self) -> bool:
        """It is."""
        return True

    def read(self, count: int | None = -1, /) -> bytes:
        """Up to `count` bytes."""
        if not self._rest:
            self._rest = next((piece for piece in self._pieces if piece), b"")
        count = len(self._rest) if count is None or count < 0 else count
        piece, self._rest = self._rest[:count], self._rest[count:]
        return piece


def verified(pieces: Iterable[bytes], digest: str, what: str) -> Iterator[bytes]:
    """The same pieces; at their end, unless they have this digest:

    Raises:
        Damaged: they do not.
    """
    found = hashlib.sha256()
    for piece in pieces:
        found.update(piece)
        yield piece
    if f"sha256:{found.hexdigest()}" != digest:
        raise Damaged(f"{what} is not what its name promises: sha256:{found.hexdigest()}, not {digest}")
