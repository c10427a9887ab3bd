"""A reader of tar streams for image layers: every dialect that image builders write, from a pipe, and fast.

The standard library's reader costs more for each member than the file system does for making the file. Everything here
is bytes: names are what the archive says, whatever their encoding. What comes in is hostile; the reader's promise is
that it needs little memory and ends with `ValueError` whatever the stream holds.
"""

from __future__ import annotations

import os
import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass

BLOCK = 512
_CHUNK = 1 << 20
_ENOUGH = 1 << 18
_MOST_META = 1 << 20
"""Longest name, link or set of attributes taken."""
_NUMBER = re.compile(rb"-?\d{1,19}")
_DECIMAL = re.compile(rb"(-?)(\d{1,15})(?:\.(\d{0,9})\d*)?")
_FIELDS = struct.Struct("100s8s8s8s12s12s8sc100s6s2s32s32s8s8s155s12s")
_XATTR = b"SCHILY.xattr."
_REGULAR = frozenset({b"0", b"\0", b"7", b"S"})

Sparse = list[tuple[int, int]]
"""``(offset, length)`` of each piece of a file that is not a hole."""


@dataclass(slots=True)
class Member:
    """One file, directory or link of an archive."""

    name: bytes
    kind: str
    """`file`, `directory`, `symlink`, `link`, `fifo` or `device`."""
    mode: int
    uid: int
    gid: int
    size: int
    """Bytes in the stream."""
    mtime: int
    """Nanoseconds."""
    link: bytes
    attributes: dict[bytes, bytes]
    sparse: Sparse | None
    """Where the bytes in the stream belong; None: one after the other."""
    length: int
    """Bytes of the file."""


class TarStream:
    """The members of a tar coming out of a descriptor; a member's content is read before the next is asked for."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._buffer = memoryview(b"")
        self._left = 0
        """Bytes of the current member's content not read yet, and its padding."""
        self._padding = 0
        self._global: dict[bytes, bytes] = {}

    # ------------------------------------------------------------------------------------------ bytes

    def _fill(self) -> bool:
        """Read a good deal: what comes in crumbs (from a slow network) is not worth looking at one by one."""
        read = os.read(self._descriptor, _CHUNK)
        if 0 < len(read) < _ENOUGH:
            more = [read]
            while read and sum(map(len, more)) < _ENOUGH:
                read = os.read(self._descriptor, _CHUNK)
                more.append(read)
            read = b"".join(more)
        self._buffer = memoryview(read)
        return len(read) > 0

    def pieces(self, count: int) -> Iterator[memoryview]:
        """The next `count` bytes of the stream as they come."""
        while count:
            if not self._buffer and not self._fill():
                raise ValueError("the archive ends early")
            piece = self._buffer[:count]
            self._buffer = self._buffer[len(piece) :]
            count -= len(piece)
            yield piece

    def _exactly(self, count: int) -> bytes:
        if len(self._buffer) >= count:
            piece = bytes(self._buffer[:count])
            self._buffer = self._buffer[count:]
            return piece
        return b"".join(self.pieces(count))

    def _meta(self, size: int) -> bytes:
        if not 0 <= size <= _MOST_META:
            raise ValueError(f"a member's description of {size} bytes")
        content = self._exactly(size)
        self._exactly(-size % BLOCK)
        return content

    def content(self, count: int | None = None) -> Iterator[memoryview]:
        """The current member's content, or the next `count` bytes of it."""
        count = self._left if count is None else count
        if count > self._left:
            raise ValueError("a sparse file's map asks for more than there is")
        for piece in self.pieces(count):
            self._left -= len(piece)
            yield piece

    def drain(self) -> None:
        """Read what follows the archive's end, so that its writer gets rid of it."""
        while self._buffer or self._fill():
            self._buffer = self._buffer[:0]

    # ------------------------------------------------------------------------------------------ members

    def __iter__(self) -> Iterator[Member]:
        own: dict[bytes, bytes] = {}
        while (header := self._header()) is not None:
            kind, size = header[7], _number(header[4])
            if kind == b"x":
                own = {**own, **_records(self._meta(size))}
            elif kind == b"g":
                self._global = {**self._global, **_records(self._meta(size))}
            elif kind == b"L":
                own[b"path"] = self._meta(size).rstrip(b"\0")
            elif kind == b"K":
                own[b"linkpath"] = self._meta(size).rstrip(b"\0")
            else:
                member = self._member(header, {**self._global, **own} if self._global else own)
                yield member
                for _ in self.content():
                    pass
                self._exactly(self._padding)
                own = {}
        if own:
            raise ValueError("the archive ends early")

    def _header(self) -> tuple[bytes, ...] | None:
        """The next header's fields; None at the end, which two empty blocks mark, or the end of the stream."""
        if not self._buffer and not self._fill():
            return None
        block = self._exactly(BLOCK)
        fields: tuple[bytes, ...] = _FIELDS.unpack(block)
        if fields[6] == b"\0" * 8 and not any(block):
            return None
        if sum(block) - sum(fields[6]) + 256 != _number(fields[6]):
            raise ValueError("not a tar archive, or a damaged one")
        return fields

    def _member(self, header: tuple[bytes, ...], more: dict[bytes, bytes]) -> Member:
        name, mode, uid, gid, size, mtime, _, kind, link, magic, *_ = header
        name = name.partition(b"\0")[0]
        if magic == b"ustar\0" and (prefix := header[15].partition(b"\0")[0]):
            name = prefix + b"/" + name
        member = Member(
            name=name,
            kind=_kind(kind, name),
            mode=_number(mode) & 0o7777,
            uid=_number(uid),
            gid=_number(gid),
            size=_number(size),
            mtime=_number(mtime) * 1_000_000_000,
            link=link.partition(b"\0")[0],
            attributes={},
            sparse=None,
            length=0,
        )
        if more:
            _apply(member, more)
        if member.kind != "file":
            member.size = 0  # whatever its header says: there is nothing behind it
        elif member.size < 0:
            raise ValueError("a member of negative size")
        self._left, self._padding = member.size, -member.size % BLOCK
        member.length = member.size
        if member.kind == "file":
            self._map(member, header, more)
        return member

    # ------------------------------------------------------------------------------------------ sparse files

    def _map(self, member: Member, header: tuple[bytes, ...], more: dict[bytes, bytes]) -> None:
        """Fill in where the content of a sparse file belongs; there are four ways of saying it."""
        if header[7] == b"S":
            self._old_map(member, header)
        elif more.get(b"GNU.sparse.major") == b"1":
            self._leading_map(member, more)
        elif b"GNU.sparse.map" in more:
            numbers = [_decimal(word) for word in more[b"GNU.sparse.map"].split(b",")]
            _set_map(member, numbers, _decimal(more.get(b"GNU.sparse.size", b"0")))
        if b"GNU.sparse.name" in more:
            member.name = more[b"GNU.sparse.name"]

    def _old_map(self, member: Member, header: tuple[bytes, ...]) -> None:
        """GNU's own format: four entries in the header, more in blocks that follow it."""
        tail = (header[15] + header[16])[-126:]
        entries, extended, real = tail[:96], tail[96], tail[97:109]
        words = [entries[at : at + 12] for at in range(0, 96, 12)]
        while extended:
            block = self._exactly(BLOCK)
            words += [block[at : at + 12] for at in range(0, 504, 12)]
            extended = block[504]
            if len(words) > _MOST_META // 8:
                raise ValueError("a sparse file of too many pieces")
        _set_map(member, [_number(word) for word in words if word.strip(b"\0 ")], _number(real))

    def _leading_map(self, member: Member, more: dict[bytes, bytes]) -> None:
        """The newest format: the map stands before the content, as decimal lines."""
        text, numbers, wanted = b"", list[int](), 1
        while len(numbers) < wanted:
            text += b"".join(self.content(BLOCK))
            *lines, text = text.split(b"\n")
            numbers += map(_decimal, lines)
            if numbers:
                wanted = 1 + 2 * numbers[0]
            if len(numbers) > _MOST_META or len(text) > BLOCK or wanted > _MOST_META:
                raise ValueError("a sparse file of too many pieces")
        member.size = self._left
        _set_map(member, numbers[1:wanted], _decimal(more.get(b"GNU.sparse.realsize", b"0")))


def _set_map(member: Member, numbers: list[int], length: int) -> None:
    pieces = list(zip(numbers[::2], numbers[1::2], strict=True))
    at = 0
    for offset, count in pieces:
        if offset < at or count < 0:
            raise ValueError("a sparse file's map runs backwards")
        at = offset + count
    if at > length or sum(count for _, count in pieces) != member.size:
        raise ValueError("a sparse file's map does not fit its content")
    member.sparse, member.length = pieces, length


def _kind(kind: bytes, name: bytes) -> str:
    if kind in _REGULAR:
        return "directory" if kind == b"\0" and name.endswith(b"/") else "file"
    try:
        return _KINDS[kind]
    except KeyError:
        raise ValueError(f"an archive member of unknown kind {kind!r}") from None


_KINDS = {
    b"1": "link",
    b"2": "symlink",
    b"3": "device",
    b"4": "device",
    b"5": "directory",
    b"6": "fifo",
}


def _apply(member: Member, more: dict[bytes, bytes]) -> None:
    """What a pax header says goes before what the fields say, which may have had no room for it."""
    member.name = more.get(b"path", member.name)
    member.link = more.get(b"linkpath", member.link)
    for key in (b"uid", b"gid", b"size"):
        if key in more:
            setattr(member, key.decode(), _decimal(more[key]))
    if b"mtime" in more:
        member.mtime = _nanoseconds(more[b"mtime"])
    for key, value in more.items():
        if key.startswith(_XATTR):
            member.attributes[key[len(_XATTR) :]] = value


def _records(text: bytes) -> dict[bytes, bytes]:
    """The ``LENGTH KEY=VALUE\\n`` records of a pax header."""
    found: dict[bytes, bytes] = {}
    pieces: list[bytes] = []
    at = 0
    while at < len(text) and text[at]:
        blank = text.find(b" ", at, at + 20)
        length = _decimal(text[at:blank]) if blank > at else 0
        record = text[blank + 1 : at + length]
        key, equals, value = record[:-1].partition(b"=")
        if length <= blank - at or at + length > len(text) or not equals or record[-1:] != b"\n":
            raise ValueError("a damaged pax header")
        if key in (b"GNU.sparse.offset", b"GNU.sparse.numbytes"):
            pieces.append(value)  # the oldest sparse format repeats its keys
        found[key] = value
        at += length
    if pieces:
        found[b"GNU.sparse.map"] = b",".join(pieces)
    return found


def _number(field: bytes) -> int:
    """A header's number: octal text, or binary when its first bit is set."""
    if field[0] & 0x80:
        value = int.from_bytes(field, "big") & ((1 << (8 * len(field) - 1)) - 1)
        return value - (1 << (8 * len(field) - 1)) if field[0] & 0x40 else value
    text = field.partition(b"\0")[0].strip()
    try:
        return int(text, 8) if text else 0
    except ValueError:
        raise ValueError("a damaged tar header") from None


def _decimal(text: bytes) -> int:
    if _NUMBER.fullmatch(text) is None:
        raise ValueError("a damaged pax header")
    return int(text)


def _nanoseconds(text: bytes) -> int:
    found = _DECIMAL.fullmatch(text)
    if found is None:
        raise ValueError("a damaged pax header")
    value = int(found[2]) * 1_000_000_000 + int((found[3] or b"").ljust(9, b"0"))
    return -value if found[1] else value
