"""COPY: which files of a context are meant, as an archive, and where in an image they go."""

from __future__ import annotations

import io
import os
import posixpath
import stat
import tarfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from cooperbench.errors import UsageError


@dataclass(frozen=True, slots=True)
class Source:
    """One file or directory of a context."""

    path: Path
    is_directory: bool


def sources(context: Path, patterns: Sequence[str], where: str) -> list[Source]:
    """What the patterns of a COPY mean.

    Raises:
        UsageError: nothing, or something outside the context.
    """
    found: list[Source] = []
    for pattern in patterns:
        clean = posixpath.normpath(pattern.lstrip("/") or ".")
        if clean.startswith(".."):
            raise UsageError(f"{where}: COPY of {pattern!r}, which is outside the context")
        paths = sorted(context.glob(clean)) if set("*?[") & set(clean) else [context / clean]
        if not paths or not all(os.path.lexists(path) for path in paths):
            raise UsageError(f"{where}: COPY of {pattern!r}, which the context does not have")
        for path in paths:
            if not path.parent.resolve().is_relative_to(context.resolve()):
                raise UsageError(f"{where}: COPY of {pattern!r}, which leads outside the context")
            found.append(Source(path, path.is_dir() and not path.is_symlink()))
    return found


def archive(found: Sequence[Source], name: str | None) -> bytes:
    """The files as an uncompressed tar, everything root's: the same files give the same bytes.

    Args:
        name: what the one file is to be called; None for names of their own, a directory's content without its name.
    """
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for source in found:
            if source.is_directory:
                for inner, path in _below(source.path):
                    _add(tar, inner, path)
            else:
                _add(tar, name or source.path.name, source.path)
    return buffer.getvalue()


def _below(directory: Path) -> Iterator[tuple[str, Path]]:
    for root, directories, files in os.walk(directory):
        directories.sort()
        for name in sorted([*files, *directories]):
            path = Path(root, name)
            yield str(path.relative_to(directory)), path


def _add(tar: tarfile.TarFile, name: str, path: Path) -> None:
    status = path.lstat()
    member = tarfile.TarInfo(name)
    member.mode = stat.S_IMODE(status.st_mode)
    if stat.S_ISLNK(status.st_mode):
        member.type, member.linkname = tarfile.SYMTYPE, os.readlink(path)
        tar.addfile(member)
    elif stat.S_ISDIR(status.st_mode):
        member.type = tarfile.DIRTYPE
        tar.addfile(member)
    elif stat.S_ISREG(status.st_mode):
        member.size = status.st_size
        with path.open("rb") as content:
            tar.addfile(member, content)
    else:
        raise UsageError(f"COPY of {path}, which is neither a file nor a directory nor a link")
