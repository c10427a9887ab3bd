"""Lines that a patch adds, as the language reads them, which is not always as they are written: what looks like a
comment and is none, names in other letters or in escapes, blanks within a name, one statement on two lines.

Which of it is suspicious is `suspicions`. Nothing here takes more than one pass, whatever a line holds.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator

from cooperbench.patches import FilePatch, HunkLine, hunk_lines

WINDOW = 2000
"""Bytes of the line before that are read together with a line."""

_SLASHED = re.compile(
    r".*\.(?:[cm]?[jt]sx?|go|rs|c|h|cc|cpp|cxx|hpp|java|kts?|scala|swift|cs|php|vue|svelte|zig|dart)",
    re.DOTALL,
)
_LINE_END = re.compile(rb"\r|\xe2\x80[\xa8\xa9]")
"""Ends a line, and with it a comment, in Python or in JavaScript, without a line feed."""
_COOKIE = re.compile(rb"#.*?coding[:=]")
_LONGEST_COMMENT = 4096


def code_lines(section: FilePatch) -> Iterator[tuple[HunkLine, tuple[bytes, ...]]]:
    """Each added line that is no comment, and the texts to look at: the line, with what it continues, and plain."""
    slashed = _SLASHED.fullmatch(section.path) is not None
    before, starred, first = b"", False, True
    for line in hunk_lines(section):
        if line.marker == b"@":
            before, starred, first = b"", False, True
        if line.marker not in b"+ ":
            continue
        # A hunk may begin within a comment, but only the file's own lines say so.
        starred, first = starred or (first and line.marker == b" "), False
        for text in _LINE_END.split(line.text.rstrip(b"\r")):
            comment, starred = _comment(text.lstrip(), line.number, slashed, starred)
            if comment:
                continue
            if line.marker == b"+":
                yield line, _texts(before, text)
            before = text.rstrip()[-WINDOW:]


def _comment(text: bytes, number: int, slashed: bool, starred: bool) -> tuple[bool, bool]:
    """Whether a line is a comment and nothing else; and whether the next may go on with it, behind a star."""
    if not slashed:
        # Where text is put together, braces hold code; the first two lines can say how the file is to be read.
        if not text.startswith(b"#") or b"{" in text or b"$(" in text or len(text) > _LONGEST_COMMENT:
            return False, False
        return not (number <= 2 and _COOKIE.match(text)), False
    if b"${" in text or text.startswith((b"//go:", b"//export")):
        return False, False
    if text.startswith(b"//"):
        return True, starred
    if not text.startswith((b"/*", b"*") if starred else b"/*"):
        return False, False
    if b"*/" not in text:
        return True, True
    return not _without_comments(text if text.startswith(b"/*") else b"/*" + text).strip(), False


# What is looked at.

_GOES_ON = (b":", b"\\", b".", b"(", b"[", b"{", b",", b"=")
_CONTINUES = (b".", b"::", b"(", b"[", b"?.")
_ESCAPE = re.compile(rb"\\(?:x|u00|u\{0{0,4})([2-7][0-9a-fA-F])\}?")
_TIGHT = (
    (b" .", b"."),
    (b". ", b"."),
    (b" ::", b"::"),
    (b":: ", b"::"),
    (b" (", b"("),
    (b" [", b"["),
    (b"[ ", b"["),
)
_PROPERTY = re.compile(rb"(?:\?\.)?\[[\"'`](\w{1,80})[\"'`] ?\]")


def _texts(before: bytes, text: bytes) -> tuple[bytes, ...]:
    texts = [text]
    if before.endswith(_GOES_ON) or text.lstrip().startswith(_CONTINUES):
        texts.append(before.removesuffix(b"\\") + text)
    simple = plain(texts[-1])
    return (*texts, simple) if simple != texts[-1] else tuple(texts)


def plain(text: bytes) -> bytes:
    """Code in the one spelling that patterns are written for."""
    if not text.isascii():  # Python takes letters of other widths and styles for the ASCII ones
        text = unicodedata.normalize("NFKC", text.decode("utf-8", "replace")).encode("utf-8", "replace")
    if b"\\" in text:
        text = _ESCAPE.sub(lambda found: bytes((int(found.group(1), 16),)), text)
    if b"/*" in text:
        text = _without_comments(text)
    text = b" ".join(text.split())
    for loose, tight in _TIGHT:
        text = text.replace(loose, tight)
    return _PROPERTY.sub(rb".\1", text)


def _without_comments(text: bytes) -> bytes:
    kept, at = [], 0
    while (start := text.find(b"/*", at)) >= 0 and (end := text.find(b"*/", start + 2)) >= 0:
        kept.append(text[at:start])
        at = end + 2
    return b"".join([*kept, text[at:]])
