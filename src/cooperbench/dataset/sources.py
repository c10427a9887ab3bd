"""Where a dataset's files come from when not from the Hub: a directory, a tar archive, a git repository.

Each function fills an empty directory. What an archive or a repository holds was written by strangers: only regular
files and directories are taken, only below the place given, and only so much.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tarfile
import zlib
from lzma import LZMAError
from pathlib import Path, PurePosixPath
from typing import IO

from cooperbench.errors import DatasetError

MOST_BYTES = 4 << 30
MOST_MEMBERS = 500_000
_SCP_LIKE = re.compile(r"[\w.-]+@[\w.-]+:.+")
_ARCHIVE = re.compile(r".*\.(tar|tgz|tar\.(gz|xz|bz2|zst)|zip)", re.IGNORECASE)


def fill(source: str, tree: Path) -> str:
    """Fill the empty directory `tree` from `source`; returns what to call the source from now on.

    Raises:
        DatasetError: no such source, or one that cannot be taken.
    """
    path = Path(source).expanduser()
    if path.is_dir() and not _is_bare_repository(path):
        _copy(path, tree)
        return f"directory {path.resolve()}"
    if path.is_file():
        _unpack(path, tree)
        return f"archive {path.resolve()}"
    if path.is_dir() or "://" in source or _SCP_LIKE.fullmatch(source):
        return f"git {source}@{_clone(source, tree)}"
    raise DatasetError(f"--from {source}: no such directory or file, and not a git URL; correct it")


def dataset_root(tree: Path) -> Path:
    """`tree`, or the one directory in it (archives often have one around everything) that holds the dataset."""
    inside = [path for path in tree.iterdir() if path.is_dir() and not path.name.startswith(".")]
    if len(inside) == 1 and not inside[0].name.endswith("_task"):
        return dataset_root(inside[0])
    return tree


# ---------------------------------------------------------------------------------------------- a directory


def _copy(source: Path, tree: Path) -> None:
    """Copy with links to files followed (a Hub cache is made of them), links to directories refused."""
    if tree.resolve().is_relative_to(source.resolve()):
        raise DatasetError(f"--from {source} holds the destination itself; name a directory elsewhere")
    for folder, names, files in os.walk(source, onerror=_unreadable):
        names[:] = [name for name in names if name != ".git"]
        target = tree / Path(folder).relative_to(source)
        target.mkdir(exist_ok=True)
        for name in names:
            if (Path(folder) / name).is_symlink():
                raise DatasetError(f"{Path(folder) / name} is a link to a directory; put the directory there")
        for name in files:
            _copy_file(Path(folder) / name, target / name)


def _copy_file(source: Path, target: Path) -> None:
    if not source.is_file():
        raise DatasetError(f"{source} is not a regular file; remove it")
    try:
        shutil.copyfile(source, target)
        target.chmod(_mode(source.stat().st_mode))
    except OSError as error:
        raise DatasetError(f"cannot copy {source}: {error.strerror}") from error


def _unreadable(error: OSError) -> None:
    raise DatasetError(f"cannot read {error.filename}: {error.strerror}") from error


def _mode(mode: int) -> int:
    return 0o755 if mode & 0o100 else 0o644


# ---------------------------------------------------------------------------------------------- an archive


def _unpack(path: Path, tree: Path) -> None:
    room = MOST_BYTES
    try:
        with tarfile.open(path, "r:*") as archive:
            for number, member in enumerate(archive):
                if number >= MOST_MEMBERS:
                    raise DatasetError(f"{path} has more than {MOST_MEMBERS} members; that is no dataset")
                room -= member.size
                _unpack_member(path, archive, member, tree, room)
    except (tarfile.TarError, EOFError, LZMAError, zlib.error) as error:
        raise DatasetError(
            f"{path} is not a complete tar archive (.tar, .tar.gz, .tar.xz, .tar.bz2): {error}"
        ) from error
    except OSError as error:
        raise DatasetError(f"cannot unpack {path}: {error}") from error


def _unpack_member(
    path: Path, archive: tarfile.TarFile, member: tarfile.TarInfo, tree: Path, room: int
) -> None:
    name = PurePosixPath(member.name)
    if name.is_absolute() or ".." in name.parts or "\0" in member.name:
        raise DatasetError(f"{path}: member {member.name!r} lies outside the archive; refused")
    if not member.isreg() and not member.isdir():
        raise DatasetError(f"{path}: member {member.name!r} is neither a file nor a directory; refused")
    if room < 0:
        raise DatasetError(f"{path} unpacks to more than {MOST_BYTES} bytes; that is no dataset")
    target = tree / name
    if member.isdir():
        target.mkdir(parents=True, exist_ok=True)
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    stream = archive.extractfile(member)
    if stream is not None:
        _write(stream, target, member.mode)


def _write(stream: IO[bytes], target: Path, mode: int) -> None:
    with stream, target.open("wb") as file:
        shutil.copyfileobj(stream, file)
    target.chmod(_mode(mode))


# ---------------------------------------------------------------------------------------------- a git repository


def _is_bare_repository(path: Path) -> bool:
    return (path / "HEAD").is_file() and (path / "objects").is_dir() and not (path / ".git").exists()


def _clone(url: str, tree: Path) -> str:
    """Clone the newest commit, without its history; returns its name."""
    if _ARCHIVE.fullmatch(url):
        raise DatasetError(f"--from {url}: archives are not downloaded; fetch it and give the file")
    # Links come out as plain files that hold their target, and no line ending is changed.
    options = ["-c", "core.symlinks=false", "-c", "core.autocrlf=false", "-c", "core.hooksPath=/dev/null"]
    _git(*options, "clone", "--quiet", "--depth", "1", "--no-recurse-submodules", "--", url, str(tree))
    commit = _git("-C", str(tree), "rev-parse", "HEAD")
    shutil.rmtree(tree / ".git")
    return commit


def _git(*argv: str) -> str:
    environment = {**os.environ, "GIT_TERMINAL_PROMPT": "0"}
    try:
        done = subprocess.run(
            ["git", *argv], env=environment, stdin=subprocess.DEVNULL, capture_output=True, check=False
        )
    except FileNotFoundError as error:
        raise DatasetError("git is not installed; install it, or give a directory or an archive") from error
    if done.returncode != 0:
        words = done.stderr.decode("utf-8", "replace").strip().splitlines() or ["no message"]
        raise DatasetError(
            f"git {' '.join(a for a in argv if a in ('clone', 'rev-parse'))} failed: {words[-1]}"
        )
    return done.stdout.decode("utf-8", "replace").strip()
