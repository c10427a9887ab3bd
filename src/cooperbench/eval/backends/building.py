"""What building an image by recipe is on every backend: the key of what goes in, the files, and a script that failed.

The key is everything that went in: the base, every file of the context, the script's name. So an unchanged recipe is
found, a changed one is built anew, and a digest made of it says what an image is made of.
"""

from __future__ import annotations

import hashlib
import io
import json
import logging
import os
import stat
import tarfile
from collections.abc import Iterator
from fnmatch import fnmatchcase
from pathlib import Path

from cooperbench.errors import SandboxStartError
from cooperbench.eval.backends.base import Completed, Recipe

log = logging.getLogger(__name__)

_FORMAT = 1


def key(base: str, recipe: Recipe) -> str:
    """Hex digest of everything the image is made of."""
    digest = hashlib.sha256(json.dumps([_FORMAT, base, recipe.script, recipe.network]).encode())
    for name, path in _context(recipe):
        mode, body = _member(path)
        digest.update(json.dumps([name, mode, hashlib.sha256(body).hexdigest()]).encode())
    return digest.hexdigest()


def _context(recipe: Recipe) -> Iterator[tuple[str, Path]]:
    """Files and links of the context by name, sorted; what Python leaves behind is not part of it."""
    directory = recipe.context
    for root, directories, files in os.walk(directory):
        directories[:] = sorted(name for name in directories if name != "__pycache__")
        if Path(root) == directory:
            directories[:], files = _wanted(directories, recipe), _wanted(files, recipe)
        links = [name for name in directories if os.path.islink(os.path.join(root, name))]
        for name in sorted([*files, *links]):
            path = Path(root, name)
            yield str(path.relative_to(directory)), path


def _wanted(names: list[str], recipe: Recipe) -> list[str]:
    return [name for name in names if not any(fnmatchcase(name, pattern) for pattern in recipe.without)]


def _member(path: Path) -> tuple[str, bytes]:
    status = path.lstat()
    if stat.S_ISLNK(status.st_mode):
        return "link", os.fsencode(os.readlink(path))
    if not stat.S_ISREG(status.st_mode):
        raise SandboxStartError(f"recipe context: {path} is neither a file nor a link")
    return ("program" if status.st_mode & 0o100 else "file"), path.read_bytes()


def archive(recipe: Recipe) -> bytes:
    """The context as an uncompressed tar."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name, path in _context(recipe):
            kind, body = _member(path)
            member = tarfile.TarInfo(name)
            member.mode = 0o755 if kind == "program" else 0o644
            if kind == "link":
                member.type, member.linkname = tarfile.SYMTYPE, os.fsdecode(body)
                tar.addfile(member)
            else:
                member.size = len(body)
                tar.addfile(member, io.BytesIO(body))
    return buffer.getvalue()


def need_script(image: str, recipe: Recipe) -> None:
    """See that there is what is to be run.

    Raises:
        SandboxStartError: there is not.
    """
    if not (recipe.context / recipe.script).is_file():
        raise SandboxStartError(f"image {image!r}: no recipe script {recipe.context / recipe.script}")


def complain(image: str, recipe: Recipe, done: Completed) -> None:
    """Nothing, if the script ended well.

    Raises:
        SandboxStartError: it did not; its last line is in the message, the lines before it are logged.
    """
    if done.returncode == 0:
        return
    said = (done.stderr_read().strip() or done.stdout_read().strip()).splitlines()
    if len(said) > 1:  # one line is told by the error
        log.warning("recipe %s of image %s said:\n%s", recipe.script, image, "\n".join(said[-40:]))
    what = "took too long" if done.timed_out else f"ended with exit code {done.returncode}"
    raise SandboxStartError(
        f"image {image!r}: its recipe {recipe.context / recipe.script} {what}: {said[-1] if said else 'no output'}"
    )
