"""Images made here because no registry has them: from a Dockerfile, or by a recipe's script on a base.

An image made here bears the digest of its recipe as a label, so an unchanged recipe is found at hand and a changed one
is built anew. What the base was made of is not in it: a machine's upgrade does not build every image again.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import os
import re
import tarfile
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from time import monotonic
from typing import IO, Any

from cooperbench.errors import BackendError, SandboxStartError
from cooperbench.eval.backends.base import Recipe, SandboxSpec
from cooperbench.eval.backends.docker import hostbase, owner
from cooperbench.eval.backends.docker.config import Settings
from cooperbench.eval.backends.docker.engine import Engine, complaints, one_line
from cooperbench.eval.backends.docker.images import Images, name_and_tag
from cooperbench.eval.backends.docker.sandbox import DockerSandbox

log = logging.getLogger(__name__)

LABEL = owner.PREFIX + "recipe"
_DOCKERFILE = "Dockerfile"
_SECONDS = 3600.0
_locks: dict[str, threading.Lock] = {}
_lock = threading.Lock()


def prepare(engine: Engine, settings: Settings, images: Images, image: str, recipe: Recipe) -> None:
    """See to it that the engine has `image` as this recipe makes it.

    With a Dockerfile in the recipe's context that is what is built, if the images it begins with can be had; else the
    recipe's script runs on the recipe's base.

    Raises:
        SandboxStartError: neither can be done; the message says what to do.
    """
    key = _key(settings, recipe)
    with _lock:
        lock = _locks.setdefault(image, threading.Lock())
    with lock:
        found = images.find(image)
        if found is not None and _label(found) in (key, None):
            return  # made from this very recipe, or put there by somebody who knows better
        images.shelf.make_room()
        with images.telling(f"image {image}", "building"):
            _make(engine, settings, images, image, recipe, key)
        if found is None:
            images.shelf.bring(image)


def _make(engine: Engine, settings: Settings, images: Images, image: str, recipe: Recipe, key: str) -> None:
    dockerfile = recipe.context / _DOCKERFILE
    why_not = "there is no Dockerfile"
    if dockerfile.is_file():
        with contextlib.ExitStack() as stack:
            try:
                for base in bases(dockerfile):
                    stack.enter_context(images.shelf.using(base))
                    images.ready(base)
            except SandboxStartError as problem:
                why_not = f"its Dockerfile cannot be built ({problem})"
            else:
                build(engine, image, recipe.context, {LABEL: key})
                return
    _by_script(engine, settings, images, image, recipe, key, why_not)


def build(engine: Engine, image: str, context: Path, labels: dict[str, str] | None = None) -> None:
    """Build an image from the Dockerfile in `context`.

    Raises:
        SandboxStartError: it cannot be built; the last lines of the build are logged.
    """
    if not (context / _DOCKERFILE).is_file():
        raise SandboxStartError(f"image {image}: there is no {context / _DOCKERFILE} to build it from")
    log.info("building image %s from %s", image, context / _DOCKERFILE)
    with _archived(context) as archive, complaints(engine, f"building image {image}"):
        events = engine.api.build(
            fileobj=archive, custom_context=True, tag=image, rm=True, forcerm=True, decode=True,
            labels=labels or {},
        )  # fmt: skip
        said: list[str] = []
        for event in events:
            said.append(str(event.get("stream") or ""))
            if event.get("error"):
                log.warning("building image %s said:\n%s", image, "".join(said[-40:]))
                raise SandboxStartError(
                    f"image {image}: its Dockerfile {context / _DOCKERFILE} failed: {one_line(event['error'])}"
                )


def bases(dockerfile: Path) -> list[str]:
    """The images a Dockerfile begins with, but for what it makes itself and what only a build can tell."""
    stages: set[str] = set()
    found = []
    for line in dockerfile.read_text("utf-8", "replace").splitlines():
        words = re.fullmatch(r"\s*FROM\s+(?:--\S+\s+)*(\S+)(?:\s+AS\s+(\S+))?\s*", line, re.IGNORECASE)
        if words is None:
            continue
        if words[1] not in stages and words[1] != "scratch" and "$" not in words[1]:
            found.append(words[1])
        if words[2]:
            stages.add(words[2])
    return found


# -------------------------------------------------------------------------------------------- by script


def _by_script(
    engine: Engine, settings: Settings, images: Images, image: str, recipe: Recipe, key: str, why_not: str
) -> None:
    if not (recipe.context / recipe.script).is_file():
        raise SandboxStartError(
            f"image {image} is not on {engine.name}: {why_not}, and there is no {recipe.context / recipe.script}"
        )
    base = _base(engine, settings, images, recipe.base, image, why_not)
    log.info("building image %s with %s on %s, for %s", image, recipe.script, base, why_not)
    spec = SandboxSpec(base, timeout=_SECONDS + 60, workdir="/build", network=recipe.network)
    sandbox = DockerSandbox(engine, settings, spec, monotonic())
    try:
        with _archived(recipe.context) as archive:
            sandbox.put_archive("/build", archive.read())
        done = sandbox.run(["sh", "-eu", f"/build/{recipe.script}"], timeout=_SECONDS)
        if done.returncode != 0:
            said = (done.stderr_read().strip() or done.stdout_read().strip()).splitlines() or ["no output"]
            log.warning("recipe %s of image %s said:\n%s", recipe.script, image, "\n".join(said[-40:]))
            raise SandboxStartError(
                f"image {image}: its recipe {recipe.context / recipe.script} ended with exit code "
                f"{done.returncode}: {said[-1]}"
            )
        sandbox.run(["sh", "-c", "cd / && rm -rf /build /tmp/* /tmp/.[!.]*"], cwd="/")
        _commit(engine, sandbox.container, image, images.ready(base), key)
    except SandboxStartError:
        raise
    except BackendError as problem:
        raise SandboxStartError(f"image {image}: building it failed: {problem}") from problem
    finally:
        sandbox.terminate()


def _base(engine: Engine, settings: Settings, images: Images, base: str, image: str, why_not: str) -> str:
    if base != "host":
        images.ready(base)
        return base
    if settings.host_image:
        images.ready(settings.host_image)
        return settings.host_image
    try:
        return hostbase.ready(engine, images)
    except BackendError as problem:
        raise SandboxStartError(
            f"image {image} is not on {engine.name}: {why_not}, and no base can be made from this machine "
            f"({problem}); docker pull what the Dockerfile begins with, or set host_image in [backends.docker]"
        ) from problem


def _commit(engine: Engine, container: str, image: str, base: Any, key: str) -> None:
    """The container as an image with the base's configuration, not that of our container."""
    config = dict(base.get("Config") or {})
    config["Labels"] = {**(config.get("Labels") or {}), LABEL: key}
    name, tag = name_and_tag(image)
    with complaints(engine, f"keeping image {image}"):
        made = engine.api.commit(container, pause=False, conf=config)
        engine.api.tag(made["Id"], name, tag)


# -------------------------------------------------------------------------------------------- contexts


def _key(settings: Settings, recipe: Recipe) -> str:
    """Of all the recipe says. The number goes up when `hostbase` puts other things into the base."""
    digest = hashlib.sha256(
        json.dumps([2, recipe.base, settings.host_image, recipe.script, recipe.network]).encode()
    )
    for name, path in _context(recipe.context):
        link = path.is_symlink()
        body = os.fsencode(os.readlink(path)) if link else path.read_bytes()
        mode = "link" if link else path.stat().st_mode & 0o111
        digest.update(json.dumps([name, mode, hashlib.sha256(body).hexdigest()]).encode())
    return digest.hexdigest()


def _label(found: Any) -> str | None:
    label = ((found.get("Config") or {}).get("Labels") or {}).get(LABEL)
    return None if label is None else str(label)


def _context(directory: Path) -> Iterator[tuple[str, Path]]:
    """Files and links below `directory`, sorted by name; what Python leaves behind is not part of it."""
    for root, directories, files in os.walk(directory):
        directories[:] = sorted(name for name in directories if name != "__pycache__")
        links = [name for name in directories if os.path.islink(os.path.join(root, name))]
        for name in sorted([*files, *links]):
            path = Path(root, name)
            yield str(path.relative_to(directory)), path


def _archived(directory: Path) -> IO[bytes]:
    """The context as an archive, everything root's and old as time: the same files give the same bytes."""
    file = tempfile.SpooledTemporaryFile(max_size=32 << 20)  # noqa: SIM115 - the caller closes it
    with tarfile.open(fileobj=file, mode="w", format=tarfile.GNU_FORMAT) as archive:
        for name, path in _context(directory):
            member = archive.gettarinfo(str(path), name)
            member.uid = member.gid = 0
            member.uname = member.gname = ""
            member.mtime = 0
            if member.isreg():
                member.mode = 0o755 if member.mode & 0o100 else 0o644
                with path.open("rb") as content:
                    archive.addfile(member, content)
            else:
                archive.addfile(member)
    file.seek(0)
    return file
