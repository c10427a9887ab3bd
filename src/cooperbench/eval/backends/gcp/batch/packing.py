"""Works as two objects: `work`, their files and commands in compressed chunks, and `manifest`, a line for each chunk.

A chunk, unpacked, is a shell program of `item` lines followed by the archives they name by offset and length; what
an `item` is says ``agent/batch.sh``.
"""

from __future__ import annotations

import gzip
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import IO

from cooperbench.eval.backends import shell
from cooperbench.eval.backends.archive import pack
from cooperbench.eval.backends.batch import Work
from cooperbench.eval.backends.gcp.config import Settings
from cooperbench.eval.backends.gcp.mailbox import fragment
from cooperbench.eval.job import Job

_CHUNKS = 3
"""For each slot: fewer, and the last ones to end keep the others waiting; more, and claims cost time."""
_LARGEST = 512
_GRACE = 600
"""Seconds after the limits of all its items when a chunk is taken for abandoned."""


@dataclass(frozen=True, slots=True)
class Packed:
    """What was written."""

    manifest: bytes
    chunks: int
    longest: float
    """Seconds that one item may take, at most."""


def ordered(works: Sequence[Work]) -> list[Work]:
    """By image, so that a machine pulls few."""
    return sorted(works, key=lambda work: (work.image, work.key))


def chunk_size(items: int, slots: int) -> int:
    """How many items a slot claims at a time."""
    return max(1, min(_LARGEST, math.ceil(items / (slots * _CHUNKS))))


def pack_all(works: Sequence[Work], slots: int, settings: Settings, file: IO[bytes]) -> Packed:
    """Write the object `work` to `file`; the manifest is returned."""
    size = chunk_size(len(works), slots)
    lines, longest = [], 0.0
    for first in range(0, len(works), size):
        some = works[first : first + size]
        content, script, seconds = _chunk(some, first, settings)
        last = first + len(some) - 1
        lease = math.ceil(sum(seconds)) + _GRACE
        lines.append(f"work {file.tell()} {script} {len(content)} {first} {last} {lease}")
        longest = max(longest, *seconds)
        file.write(content)
    manifest = "\n".join([f"{len(lines)} {slots}", *lines, ""])
    return Packed(manifest.encode(), len(lines), longest)


def _chunk(works: Sequence[Work], first: int, settings: Settings) -> tuple[bytes, int, list[float]]:
    lines, archives, seconds = [], [], []
    offset = 0
    for number, work in enumerate(works, first):
        job = work.make()
        archive = pack(job.files)
        lines.append(fragment("item", *_words(number, job, settings, offset, len(archive))))
        archives.append(archive)
        offset += len(archive)
        seconds.append(shell.lifetime(job))
    script = b"".join(lines)
    # The same bytes for the same works, as far as the commands' random words let them be.
    return gzip.compress(script + b"".join(archives), 4, mtime=0), len(script), seconds


def _words(number: int, job: Job, settings: Settings, offset: int, length: int) -> Iterator[str]:
    command, marker = shell.limited(shell.with_environment(job.command, job.env), job.timeout)
    image = f"{settings.mirror.rstrip('/')}/{job.image}" if settings.mirror else job.image
    yield from (str(number), image, job.network or settings.network, str(math.ceil(shell.lifetime(job))))
    yield from (job.results, marker, str(offset), str(length), *command)
