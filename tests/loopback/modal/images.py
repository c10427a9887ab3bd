"""What sandboxes are made from: layers as the client asks for them, each an image of the `local` backend's store."""

from __future__ import annotations

import asyncio
import hashlib
import json
import shlex
import subprocess
import tempfile
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from cooperbench.errors import BackendError
from cooperbench.eval.backends.base import Recipe
from cooperbench.eval.backends.local import LocalBackend, LocalSandbox


@dataclass(frozen=True)
class Reference:
    """An image in a registry."""

    local: str
    """Its name in the `local` backend's store: `host`, one that a recipe made, or ``dir:/a/root/file/system``."""
    env: Mapping[str, str] = field(default_factory=dict)
    entrypoint: tuple[str, ...] = ()
    workdir: str = "/"
    password: str = ""
    """What a registry secret must hold for it; empty: public."""


class BuildFailed(Exception):
    """What the client is told of a layer that cannot be built."""


class Images:
    """The images of the workspace, by id."""

    def __init__(self, local: LocalBackend, registry: Mapping[str, Reference]) -> None:
        self._local = local
        self._registry = dict(registry)
        self._built: dict[str, Reference] = {}
        self._builds: dict[str, asyncio.Task[Reference]] = {}
        self.snapshots: dict[str, str] = {}
        """Their ids, and their names in the store."""
        self.built = 0
        """Layers made, not found."""

    def find(self, image_id: str) -> Reference | None:
        """The image of this id."""
        return self._built.get(image_id)

    def forget(self, image_id: str) -> None:
        """As if its time to live were over."""
        self._built.pop(image_id, None)

    def ask(self, layer: Any, secret: Mapping[str, str]) -> str:
        """The id of a layer, whose building has begun if it is new: layers are told apart by their content [client]."""
        key = "im-" + hashlib.sha256(layer.SerializeToString(deterministic=True)).hexdigest()[:22]
        if key not in self._built and key not in self._builds:
            self._builds[key] = asyncio.ensure_future(self._build(key, layer, secret))
        return key

    async def join(self, image_id: str) -> None:
        """Wait for a layer.

        Raises:
            BuildFailed: it cannot be built; asking again tries again.
        """
        if image_id in self._builds:
            try:
                await self._builds[image_id]
            finally:
                self._builds.pop(image_id, None)

    async def snapshot(self, sandbox: LocalSandbox, base: Reference) -> str:
        """A new image: what the sandbox was made from and what has been written in it."""
        name = f"snapshot-{uuid.uuid4().hex}"
        await asyncio.to_thread(self._seal, sandbox, base.local, name)
        image_id = "im-" + uuid.uuid4().hex[:22]
        self._built[image_id] = replace(base, local=name)
        self.snapshots[image_id] = name
        return image_id

    def discard(self) -> None:
        """Let go of the snapshots: the store removes what nobody uses."""
        engine = self._local.engine()
        for name in self.snapshots.values():
            engine.images._name(name).unlink(missing_ok=True)
            engine.claims.release(_digest(name))
        engine.sweep()

    def _seal(self, sandbox: LocalSandbox, base: str, name: str) -> None:
        engine = self._local.engine()
        upper = engine.state.upper(sandbox.number)
        copy, layer = f"{upper}-{name}", f"layers/{name}"
        below = engine.images.find(base)
        with engine.claims.wanted([each.removeprefix("layers/") for each in (layer, *below.layers)]):
            # As root: a layer's whiteouts are devices, and its files belong to the sandbox's users.
            subprocess.run(["cp", "-a", engine.state.path / upper, engine.state.path / copy], check=True)
            places = [place["at"] for place in engine.places(below)]
            engine.launcher.ask("seal", upper=copy, target=layer, host_places=places, dropped=[])
            image = replace(below, digest=_digest(name), layers=(layer, *below.layers))
            engine.images.add(image, [name])
            engine.claims.use(_digest(name))
        engine.state.discard(copy)

    async def _build(self, key: str, layer: Any, secret: Mapping[str, str]) -> Reference:
        self.built += 1
        below = {each.docker_tag: each.image_id for each in layer.base_images}
        state: Reference | None = None
        for command in layer.dockerfile_commands:
            word, _, rest = command.strip().partition(" ")
            if word.upper() == "FROM":
                base = below.get(rest)
                state = self._built[base] if base else self._pull(rest, secret)
            elif state is None:
                raise BuildFailed("a Dockerfile begins with FROM")
            else:
                state = await self._step(state, word.upper(), rest.strip(), key)
        if state is None:
            raise BuildFailed("an image without a FROM")
        self._built[key] = state
        return state

    def _pull(self, name: str, secret: Mapping[str, str]) -> Reference:
        found = self._registry.get(name)
        if found is None:
            raise BuildFailed(f"error pulling image: manifest for {name} not found: manifest unknown")
        if found.password and secret.get("REGISTRY_PASSWORD") != found.password:
            raise BuildFailed(f"error pulling image: pull access denied for {name}: authentication required")
        return found

    async def _step(self, state: Reference, word: str, rest: str, key: str) -> Reference:
        match word:
            case "ENTRYPOINT":
                return replace(state, entrypoint=tuple(json.loads(rest)))
            case "WORKDIR":
                return replace(state, workdir=rest)
            case "ENV":
                name, _, value = rest.partition("=")
                return replace(state, env={**state.env, name.strip(): "".join(shlex.split(value))})
            case "RUN":
                local = await asyncio.to_thread(self._run, state.local, rest, f"{key}-{state.local}")
                return replace(state, local=local)
        raise BuildFailed(f"the loopback server builds no {word}")

    def _run(self, base: str, command: str, name: str) -> str:
        with tempfile.TemporaryDirectory() as context:
            Path(context, "run.sh").write_text(command, encoding="utf-8")
            try:
                self._local.prepare_image(name, Recipe(base, Path(context), "run.sh"))
            except BackendError as problem:
                raise BuildFailed(str(problem)) from problem
        return name


def _digest(name: str) -> str:
    return "sha256:" + hashlib.sha256(name.encode()).hexdigest()
