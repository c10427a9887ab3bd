"""How paths are written in the header of a diff: git's quoting, prefixes, time stamps, names with blanks.

Reads what `git apply` reads (one leading directory taken off), as bytes until `text`. Nothing raises: a line
that names no file gives None or no candidate. Which lines make a header is `patches`.
"""

from __future__ import annotations

import posixpath
import re

_QUOTED = re.compile(rb'"((?:[^"\\]|\\.)*)"')
_ESCAPE = re.compile(rb"\\(?:([0-3][0-7]{2})|(.))", re.DOTALL)
_ESCAPES = {b"a": b"\a", b"b": b"\b", b"f": b"\f", b"n": b"\n", b"r": b"\r", b"t": b"\t", b"v": b"\v"}
_DATE = re.compile(rb" {1,8}\d{2,4}[-/]\d\d[-/]\d\d[ \d:.+-]{0,40}$")
_PREFIXES = frozenset((b"a", b"b", b"c", b"i", b"o", b"w", b"1", b"2"))
_LONGEST = 16384
"""Four times PATH_MAX (git escapes a byte as four): no longer line names a file that can exist."""
_SPLITS = 200
"""Blanks of a `diff --git` line that are tried as the border between its two names."""


def side(value: bytes) -> bytes | None:
    """The name on a ``---`` or ``+++`` line, prefix included; None for ``/dev/null``."""
    if (unquoted := _unquote(value)) is not None:
        return unquoted
    name = re.split(rb"[\t\r\n]", value[:_LONGEST], maxsplit=1)[0]
    # Written by other tools than git, a time stamp may follow after blanks only.
    name = _DATE.sub(b"", name) or name
    return None if name == b"/dev/null" else name


def whole(value: bytes) -> bytes:
    """The name on a ``rename`` or ``copy`` line, which has no prefix."""
    unquoted = _unquote(value)
    return value[:_LONGEST].rstrip(b"\r\n") if unquoted is None else unquoted


def pair(header: bytes) -> tuple[bytes, bytes] | None:
    """The two names of a ``diff --git`` line (its text after that), prefixes included."""
    if len(header) > _LONGEST:
        return None
    if quoted := _QUOTED.match(header):
        return side(header) or b"", side(header[quoted.end() :].lstrip(b" ")) or b""
    if header.endswith(b'"') and (at := header.find(b' "')) > 0:
        return header[:at], side(header[at + 1 :]) or b""
    return _equal_pair(header) or _unequal_pair(header)


def _equal_pair(header: bytes) -> tuple[bytes, bytes] | None:
    middle = len(header) // 2
    blanks = (found.start() for found in re.finditer(b" ", header))
    for at in [middle, *(at for at, _ in zip(blanks, range(_SPLITS), strict=False))]:
        before, after = header[:at], header[at + 1 :]
        if header[at : at + 1] == b" " and stripped(before) == stripped(after):
            return before, after
    return None


def _unequal_pair(header: bytes) -> tuple[bytes, bytes] | None:
    at = header.rfind(b" b/")
    if at <= 0:
        at = header.find(b" ")
    return (header[:at], header[at + 1 :]) if at > 0 else None


def stripped(name: bytes) -> bytes:
    """Without the first directory, as ``git apply`` takes it off; a bare file name stays."""
    _, slash, rest = name.partition(b"/")
    return rest if slash else name


def candidates(name: bytes | None) -> list[str]:
    """The paths a name can stand for: without its first directory; with it too, unless that is a known prefix."""
    if not name:
        return []
    known = name.partition(b"/")[0] in _PREFIXES
    found = [text(stripped(name))] if known else [text(stripped(name)), text(name)]
    return [path for path in found if path != "."]


def text(name: bytes) -> str:
    """A path for people and for comparing: normalised; bytes that are not UTF-8 are shown as escapes."""
    decoded = name[:_LONGEST].decode("utf-8", "backslashreplace")
    return posixpath.normpath(re.sub("/{2,}", "/", decoded))


def _unquote(value: bytes) -> bytes | None:
    quoted = _QUOTED.match(value[:_LONGEST])
    return _ESCAPE.sub(_unescape, quoted.group(1)) if quoted else None


def _unescape(found: re.Match[bytes]) -> bytes:
    octal, letter = found.groups()
    return bytes((int(octal, 8),)) if octal is not None else _ESCAPES.get(letter, letter)
