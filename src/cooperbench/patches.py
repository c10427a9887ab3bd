"""Unified diffs as bytes: split by file, filtered, never decoded and never rewritten.

Sections are told apart the way `git apply` tells them apart (hunks are walked by their line counts, so text in
one that looks like a header is not one), because what is dropped here must be what git would have applied there.
Where git and a reader could disagree on a section's path, the section carries every candidate. Nothing raises on
hostile bytes: what is no diff stays in an opaque section. How names are written is `diffnames`, which names are
tests `conventions`, what makes a file suspicious `eval.integrity`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise

from cooperbench import diffnames
from cooperbench.conventions import is_test_file as is_test_file

SYMLINK = 0o120000
SUBMODULE = 0o160000

_START = re.compile(rb"^(?:diff --git |--- |@@ -)", re.MULTILINE)
_DEEPEST = 64
"""Levels of directories looked at: a bound on the work a hostile path can cause."""

_HUNK_START = re.compile(rb"^@@ -", re.MULTILINE)
_HUNK = re.compile(rb"@@ -0*\d{1,18}(?:,0*(\d{1,18}))? \+0*(\d{1,18})(?:,0*(\d{1,18}))? @@")
_EXTENDED = re.compile(
    rb"(--- |\+\+\+ |old mode |new mode |deleted file mode |new file mode |copy from |copy to |rename old "
    rb"|rename new |rename from |rename to |similarity index |dissimilarity index |index )([^\n]*)\n?"
)
_TRADITIONAL = re.compile(rb"--- [^\n]*\n\+\+\+ [^\n]*\n(?=@@ -)")
_MODE = re.compile(rb"(?:[0-9a-f]+\.\.[0-9a-f]+ )?([0-7]{5,6})\s*$")


@dataclass(frozen=True, slots=True)
class FilePatch:
    """What a patch does to one file; or, with no names, text that is no diff (a preamble, garbage)."""

    raw: bytes
    old: str | None = None
    """Path before, as git reads it; None where the file is created."""
    new: str | None = None
    """Path after; None where the file is deleted."""
    names: tuple[str, ...] = ()
    """Every path that a tool applying the section could write to or remove."""
    mode: int | None = None
    """File mode after (before, for a deletion), where the header tells."""
    created: bool = False

    @property
    def path(self) -> str:
        """The one name to show."""
        return self.new or self.old or (self.names[0] if self.names else "")


@dataclass(frozen=True, slots=True)
class Filtered:
    """A patch after filtering."""

    kept: bytes
    dropped: tuple[str, ...]
    """Paths whose sections are gone, in the patch's order."""


@dataclass(frozen=True, slots=True)
class HunkLine:
    """One line of a hunk."""

    number: int
    """In the file after the patch; for a removed line, where it was."""
    marker: bytes
    """``b"+"``, ``b"-"``, ``b" "``; ``b"@"`` for the hunk's own header."""
    text: bytes
    """Without marker and line feed."""


def parse(patch: bytes) -> list[FilePatch]:
    """Split a patch by file; joining every ``raw`` gives the patch back, byte for byte."""
    return list(_remembered(patch) if len(patch) <= _SMALL else _split(patch))


_SMALL = 128 * 1024
"""Bytes of a patch whose parts are remembered: a patch is looked at several times, hidden tests by every trial."""


@lru_cache(maxsize=128)
def _remembered(patch: bytes) -> tuple[FilePatch, ...]:
    return tuple(_split(patch))


def _split(patch: bytes) -> list[FilePatch]:
    bounds = sorted({0, *_section_starts(patch), len(patch)})
    return [_describe(patch[a:b]) for a, b in pairwise(bounds)]


def touched(patch: bytes) -> tuple[str, ...]:
    """Every path the patch could write to or remove, in its order."""
    return tuple(dict.fromkeys(name for section in parse(patch) for name in section.names))


def is_empty(patch: bytes) -> bool:
    """Whether there is nothing to apply at all."""
    return not patch.strip()


def line_count(patch: bytes) -> int:
    """Lines, a last one without line feed included."""
    return patch.count(b"\n") + (not patch.endswith(b"\n") and patch != b"")


def drop(patch: bytes, predicate: Callable[[str], bool]) -> tuple[bytes, list[str]]:
    """Take out every section with a path for which ``predicate`` holds.

    Returns:
        What is left, byte for byte (nothing, when it would be text without any diff), and the paths dropped.
    """
    sections = parse(patch)
    gone = [any(map(predicate, section.names)) for section in sections]
    kept = [section for section, out in zip(sections, gone, strict=True) if not out]
    if not any(gone):
        return patch, []
    dropped = [name for section, out in zip(sections, gone, strict=True) if out for name in section.names]
    if not any(section.names for section in kept):
        return b"", list(dict.fromkeys(dropped))
    return b"".join(section.raw for section in kept), list(dict.fromkeys(dropped))


def keep_for_judging(
    patch: bytes, tests_patches: Sequence[bytes], gold_paths: Collection[str] = ()
) -> Filtered:
    """An agent's patch without what belongs to the benchmark.

    Args:
        patch: The agent's.
        tests_patches: Of every feature of the trial; whatever they touch is theirs.
        gold_paths: Paths the gold patches touch: never dropped for their name alone.
    """
    theirs = {name for tests in tests_patches for name in touched(tests)}
    folders = {folder for name in theirs for folder in _folders(name)}

    def out(path: str) -> bool:
        if path in theirs or path in folders or not theirs.isdisjoint(_folders(path)):
            return True
        return is_test_file(path) and path not in gold_paths

    kept, dropped = drop(patch, out)
    return Filtered(kept, tuple(dropped))


def _folders(path: str) -> Iterator[str]:
    """Every directory above a path. A file or a link put there would displace what is below."""
    parts = path.split("/", _DEEPEST)
    for depth in range(1, len(parts)):
        yield "/".join(parts[:depth])


# Where sections start.


def _section_starts(patch: bytes) -> Iterator[int]:
    at = 0
    while found := _START.search(patch, at):
        at = found.start()
        if patch.startswith(b"@@", at):
            at = _after_hunk(patch, at)
        elif patch.startswith(b"d", at):
            yield at
            at = _after_header(patch, _line_end(patch, at))
        elif traditional := _TRADITIONAL.match(patch, at):
            yield at
            at = traditional.end()
        else:
            at = _line_end(patch, at)


def _after_header(patch: bytes, at: int) -> int:
    while found := _EXTENDED.match(patch, at):
        at = found.end()
    return at


def _after_hunk(patch: bytes, at: int) -> int:
    end = _line_end(patch, at)
    for _, _, _, stop in _walk_hunk(patch, at):
        end = stop
    return end


def _line_end(patch: bytes, at: int) -> int:
    return patch.find(b"\n", at) + 1 or len(patch)


def _walk_hunk(patch: bytes, at: int) -> Iterator[tuple[int, int, int, int]]:
    """(line number after, marker byte, start, end) of each line that the hunk at ``at`` counts as its own."""
    header = _HUNK.match(patch, at)
    if header is None:
        return
    old, new = (int(n) if n is not None else 1 for n in header.group(1, 3))
    number, at, size = int(header.group(2)), _line_end(patch, at), len(patch)
    while (old > 0 or new > 0) and at < size:
        marker, end = patch[at], patch.find(b"\n", at) + 1 or size
        if marker == 0x2B:  # +
            yield number, marker, at, end
            new, number = new - 1, number + 1
        elif marker == 0x2D:  # -
            yield number, marker, at, end
            old -= 1
        elif marker in b" \r\n":
            yield number, marker, at, end
            old, new, number = old - 1, new - 1, number + 1
        elif marker == 0x5C:  # \ No newline at end of file
            yield number, marker, at, end
        else:
            return
        at = end
    if patch.startswith(b"\\ ", at):
        yield number, 0x5C, at, _line_end(patch, at)


def hunk_lines(section: FilePatch) -> Iterator[HunkLine]:
    """The lines of a section's hunks, each hunk's header first."""
    raw, at = section.raw, 0
    while found := _HUNK_START.search(raw, at):
        start = found.start()
        at = _line_end(raw, start)
        yield HunkLine(0, b"@", raw[start:at].rstrip(b"\n"))
        for number, marker, begin, end in _walk_hunk(raw, start):
            at = end
            if marker != 0x5C:
                sign = bytes((marker,)) if marker in b"+-" else b" "
                yield HunkLine(number, sign, raw[begin + 1 : end].removesuffix(b"\n"))


def added_lines(section: FilePatch) -> Iterator[HunkLine]:
    """The lines a section adds."""
    return (line for line in hunk_lines(section) if line.marker == b"+")


# What a header says.

_OLD, _NEW = (b"rename from ", b"rename old ", b"copy from "), (b"rename to ", b"rename new ", b"copy to ")


def _describe(raw: bytes) -> FilePatch:
    if raw.startswith(b"diff --git "):
        return _describe_git(raw)
    if not _TRADITIONAL.match(raw):
        return FilePatch(raw)
    before, after = (diffnames.side(line[4:]) for line in raw.split(b"\n", 2)[:2])
    names = (*diffnames.candidates(before), *diffnames.candidates(after))
    return FilePatch(raw, _path(before), _path(after), tuple(dict.fromkeys(names)), created=before is None)


def _describe_git(raw: bytes) -> FilePatch:
    at = _line_end(raw, 0)
    pair = diffnames.pair(raw[11:at].rstrip(b"\r\n"))
    header = (_path(pair[0]), _path(pair[1])) if pair else (None, None)
    fields: dict[bytes, bytes] = {}
    names: list[str] = []
    while found := _EXTENDED.match(raw, at):
        at, key, value = found.end(), found.group(1), found.group(2)
        fields[key] = value
        if key in (b"--- ", b"+++ "):
            names += diffnames.candidates(diffnames.side(value))
        elif key in _OLD[:2] or key in _NEW:  # what is copied from stays as it is
            names.append(diffnames.text(diffnames.whole(value)))
    if pair and (not names or header[0] == header[1]):
        names += diffnames.candidates(pair[0]) + diffnames.candidates(pair[1])
    created = b"new file mode " in fields
    old = None if created else _side(fields, _OLD, b"--- ", header[0])
    new = None if b"deleted file mode " in fields else _side(fields, _NEW, b"+++ ", header[1])
    return FilePatch(raw, old, new, tuple(dict.fromkeys(names)), _mode(fields), created)


def _side(
    fields: Mapping[bytes, bytes], moved: tuple[bytes, ...], line: bytes, default: str | None
) -> str | None:
    for key in moved:
        if key in fields:
            return diffnames.text(diffnames.whole(fields[key]))
    return _path(diffnames.side(fields[line])) if line in fields else default


def _path(name: bytes | None) -> str | None:
    return diffnames.text(diffnames.stripped(name)) if name else None


def _mode(fields: Mapping[bytes, bytes]) -> int | None:
    for key in (b"new mode ", b"new file mode ", b"deleted file mode ", b"index "):
        if digits := _MODE.match(fields.get(key, b"")):
            return int(digits.group(1), 8)
    return None
