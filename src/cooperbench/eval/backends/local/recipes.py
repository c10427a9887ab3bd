"""Images made by a recipe: a script run once on a base, what it changed kept as one more layer.

The key of such an image is everything that went in: the base's digest, every file of the context, the script's name.
So an unchanged recipe is found, a changed one is built anew, and the digest says what an image is made of.
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

from cooperbench.errors import BackendError, SandboxStartError
from cooperbench.eval.backends.base import Completed, Recipe, SandboxSpec
from cooperbench.eval.backends.local.engine import Engine, Extras
from cooperbench.eval.backends.local.images import Image

log = logging.getLogger(__name__)

_FORMAT = 1
_SECONDS = 3600.0
_CONTEXT = "/build"
_BINDS = (
    {"name": "build", "at": "build", "mode": 0o755},
    {"name": "tmp", "at": "tmp", "mode": 0o1777},
    {"name": "run", "at": "run", "mode": 0o755},
)
_DROPPED = ["build"]


def prepare(engine: Engine, name: str, recipe: Recipe) -> str:
    """The digest of the image this recipe makes, built now unless it is at hand; `name` stands for it from now on."""
    if not (recipe.context / recipe.script).is_file():
        raise SandboxStartError(f"image {name!r}: no recipe script {recipe.context / recipe.script}")
    base = engine.images.find(recipe.base)
    digest = "sha256:" + key(base.digest or recipe.base, recipe)
    if not engine.images.has(digest):
        with engine.building(), engine.state.locked(f"build-{digest[7:39]}"):
            if not engine.images.has(digest):
                _build(engine, name, recipe, base, digest)
    engine.images.name(name, digest)
    return digest


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


def _archive(recipe: Recipe) -> bytes:
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


def _build(engine: Engine, name: str, recipe: Recipe, base: Image, digest: str) -> None:
    log.info("building image %s with %s on %s", name, recipe.script, recipe.base)
    spec = SandboxSpec(recipe.base, timeout=_SECONDS + 60, workdir=_CONTEXT, network=recipe.network)
    sandbox = engine.create(spec, base, Extras(binds=_BINDS, build=True))
    upper = engine.state.upper(sandbox.number)
    try:
        try:
            sandbox.put_archive(_CONTEXT, _archive(recipe))
            done = sandbox.run(["sh", "-eu", f"{_CONTEXT}/{recipe.script}"], timeout=_SECONDS)
            if not engine.disk:
                sandbox.export(upper)
        except BackendError as error:
            raise SandboxStartError(f"image {name!r}: building it failed: {error}") from error
        finally:
            sandbox.terminate()
        _complain(name, recipe, done)
        layer = f"layers/{digest[7:23]}"
        engine.state.discard(layer)  # of a build that died between making its layer and recording its image
        places = [place["at"] for place in engine.places(base)]
        engine.launcher.ask("seal", upper=upper, target=layer, host_places=places, dropped=_DROPPED)
        engine.images.add(Image(digest, (layer, *base.layers), base.host, base.env))
    finally:
        engine.bury(upper)


def _complain(name: str, recipe: Recipe, done: Completed) -> None:
    if done.returncode == 0:
        return
    said = (done.stderr_read().strip() or done.stdout_read().strip()).splitlines()
    if len(said) > 1:  # one line is told by the error
        log.warning("recipe %s of image %s said:\n%s", recipe.script, name, "\n".join(said[-40:]))
    what = "took too long" if done.timed_out else f"ended with exit code {done.returncode}"
    raise SandboxStartError(
        f"image {name!r}: its recipe {recipe.context / recipe.script} {what}: {said[-1] if said else 'no output'}"
    )
