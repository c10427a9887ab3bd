"""Images out of Dockerfiles, an instruction at a time: each RUN and COPY in a sandbox, what it changes a layer.

A step's digest is made of everything that goes into it (the step before, the instruction, the variables it sees, the
files it copies), so a step that was done before is found, and the digest of the image says what it is made of.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import posixpath
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from cooperbench.errors import SandboxStartError, UsageError
from cooperbench.eval.backends.base import Completed, Network, SandboxSpec
from cooperbench.eval.backends.local.engine import Engine
from cooperbench.eval.backends.local.images import Image
from cooperbench.eval.backends.local.sandbox import LocalSandbox
from cooperbench.eval.backends.local.sealing import seal
from cooperbench.eval.backends.local.store import copying, dockerfile, imageconfig
from cooperbench.eval.backends.local.store.dockerfile import Instruction
from cooperbench.eval.backends.local.store.provision import Provision

log = logging.getLogger(__name__)

_FORMAT = 2
_SECONDS = 3600.0
_DROPPED = ("etc/resolv.conf",)
"""What the sandbox brings for a network, which is none of the image's."""
_TOLD = 40


@dataclass(frozen=True, slots=True)
class _Stand:
    """How far a build is."""

    image: Image
    key: str
    outer: dict[str, str] = field(default_factory=dict)
    """ARGs before FROM, which count after it where an ARG asks for them."""
    args: dict[str, str] = field(default_factory=dict)
    settings: dict[str, list[str]] = field(default_factory=dict)
    """ENTRYPOINT and CMD."""

    @property
    def values(self) -> dict[str, str]:
        """What variables stand for."""
        return {**self.args, **self.image.env}

    @property
    def added(self) -> dict[str, str]:
        """What a command finds in its environment besides the image's own: ENV wins over ARG."""
        return {name: value for name, value in self.args.items() if name not in self.image.env}

    def path(self, text: str) -> str:
        """A path as WORKDIR makes it absolute."""
        return posixpath.normpath(posixpath.join("/", self.image.workdir, text))


class Build:
    """One image's way through its Dockerfile."""

    def __init__(
        self, engine: Engine, provision: Provision, name: str, context: Path, network: Network
    ) -> None:
        self._engine = engine
        self._provision = provision
        self._name = name
        self._context = context
        self._network = network
        self._where = str(context / "Dockerfile")
        self._kept = contextlib.ExitStack()
        """The steps so far stay until the image is there."""

    def run(self) -> str:
        """The digest of the image, built now as far as it is not at hand; its name stands for it from now on.

        Raises:
            UsageError: the Dockerfile asks for what is not built here. SandboxStartError: a step failed.
        """
        instructions = self._read()
        with self._kept:
            stand = self._begin(instructions)
            for each in instructions[instructions.index(_from(instructions)) + 1 :]:
                try:
                    stand = self._step(each, stand)
                except UsageError as problem:
                    here = f"{self._where}:{each.line}: "
                    raise UsageError(f"{here}{str(problem).removeprefix(here)}") from problem
            return self._finish(stand)

    def _read(self) -> list[Instruction]:
        if (self._context / ".dockerignore").exists():
            raise dockerfile.refused(f"{self._context / '.dockerignore'}: a list of files to leave out")
        try:
            text = Path(self._where).read_text(encoding="utf-8")
        except FileNotFoundError as problem:
            raise SandboxStartError(
                f"image {self._name}: there is no {self._where} to build it from"
            ) from problem
        except (OSError, ValueError) as problem:
            raise UsageError(f"{self._where} cannot be read: {problem}") from problem
        return dockerfile.parse(text, self._where)

    def _begin(self, instructions: list[Instruction]) -> _Stand:
        args: dict[str, str] = {}
        first = _from(instructions)
        for each in instructions[: instructions.index(first)]:
            name, value = dockerfile.argument(each.text, args)
            if value is not None:
                args[name] = value
        base, *more = dockerfile.words(first.text, args) or [""]
        if more and (len(more) != 2 or more[0].upper() != "AS"):
            raise UsageError(f"{self._where}:{first.line}: FROM needs an image, not {first.text!r}")
        if base == "scratch":
            raise dockerfile.refused(f"{self._where}:{first.line}: FROM scratch")
        image = self._provision.image(self._engine, base)
        if image.digest is not None:
            self._kept.enter_context(self._engine.claims.using(image.digest))
        return _Stand(image, _hash([_FORMAT, "dockerfile", image.digest or base]), outer=args)

    # ------------------------------------------------------------------------------------------ steps

    def _step(self, each: Instruction, stand: _Stand) -> _Stand:
        match each.name:
            case "ARG":
                name, value = dockerfile.argument(each.text, stand.values)
                value = stand.outer.get(name) if value is None else value
                return stand if value is None else replace(stand, args={**stand.args, name: value})
            case "ENV":
                env = {**stand.image.env, **dockerfile.assignments(each.text, stand.values)}
                return replace(stand, image=replace(stand.image, env=env), key=_hash([stand.key, env]))
            case "ENTRYPOINT" | "CMD":
                return replace(stand, settings={**stand.settings, each.name: dockerfile.command(each.text)})
            case "WORKDIR":
                path = stand.path(dockerfile.expanded(each.text.strip("\"'"), stand.values))
                moved = replace(stand, image=replace(stand.image, workdir=path))
                return self._layer(each, moved, ["workdir", path], lambda _: None)
            case "COPY":
                return self._copy(each, stand)
            case _:
                return self._run(each, stand)

    def _run(self, each: Instruction, stand: _Stand) -> _Stand:
        command = dockerfile.command(each.text)

        def work(sandbox: LocalSandbox) -> None:
            self._complain(each, sandbox.run(command, timeout=_SECONDS, env=stand.added))

        return self._layer(each, stand, ["run", command, stand.added, self._network], work)

    def _copy(self, each: Instruction, stand: _Stand) -> _Stand:
        parts = dockerfile.json_list(each.text)
        if parts is None:
            parts = dockerfile.words(each.text, stand.values)
        if len(parts) < 2:
            raise UsageError("COPY needs a source and a place for it")
        *patterns, place = parts
        found = copying.sources(self._context, patterns, f"{self._where}:{each.line}")
        target = stand.path(place)
        plain = len(found) == 1 and not found[0].is_directory and not place.endswith(("/", "/."))
        if len(found) > 1 and not place.endswith(("/", ".")):
            raise UsageError(f"COPY of several files needs a directory, which ends in a slash: not {place!r}")

        def work(sandbox: LocalSandbox) -> None:
            if plain and sandbox.run(["test", "-d", target]).returncode != 0:
                directory, name = posixpath.split(target)
                sandbox.put_archive(directory, copying.archive(found, name))
            else:
                sandbox.put_archive(target, copying.archive(found, None))

        content = hashlib.sha256(copying.archive(found, None)).hexdigest()
        return self._layer(each, stand, ["copy", target, plain, content], work)

    def _layer(
        self, each: Instruction, stand: _Stand, made_of: list[Any], work: Callable[[LocalSandbox], None]
    ) -> _Stand:
        """What this step changes as one more layer, found or made."""
        engine, base = self._engine, stand.image
        key = _hash([stand.key, made_of, dict(base.env), base.workdir, base.user])
        digest, layer = f"sha256:{key}", f"layers/{key}"
        image = replace(base, digest=digest, layers=(layer, *base.layers))
        self._kept.enter_context(engine.claims.using(digest))
        if not engine.images.has(digest):
            below = [path.removeprefix("layers/") for path in image.layers]
            with engine.claims.wanted(below), engine.state.locked(f"build-{key}"):
                if not engine.images.has(digest):
                    log.info("image %s: %s %s", self._name, each.name, each.text[:100])
                    network = self._network if each.name == "RUN" else "none"
                    user = "" if each.name == "RUN" else "root"
                    spec = SandboxSpec(self._name, _SECONDS + 60, base.workdir, network=network, user=user)
                    seal(engine, spec, base, layer, work, dropped=_DROPPED)
                    engine.images.add(image, ())
        return replace(stand, image=image, key=key)

    def _complain(self, each: Instruction, done: Completed) -> None:
        if done.returncode == 0:
            return
        said = (done.stderr_read().strip() or done.stdout_read().strip()).splitlines() or ["no output"]
        if len(said) > 1:
            log.warning("%s:%d said:\n%s", self._where, each.line, "\n".join(said[-_TOLD:]))
        how = "took too long" if done.timed_out else f"ended with exit code {done.returncode}"
        raise SandboxStartError(
            f"image {self._name}: {self._where}:{each.line}: {each.name} {how}: {said[-1]}"
        )

    def _finish(self, stand: _Stand) -> str:
        image = stand.image
        config = {
            "Env": [f"{name}={value}" for name, value in image.env.items()],
            "WorkingDir": image.workdir,
            "User": image.user,
            **{
                {"ENTRYPOINT": "Entrypoint", "CMD": "Cmd"}[name]: words
                for name, words in stand.settings.items()
            },
        }
        digest = f"sha256:{_hash([stand.key, config])}"
        text = imageconfig.make([], self._where, config)
        with self._engine.claims.using(digest):
            self._engine.images.add(
                replace(image, digest=digest), (self._name,), config=text, platform=imageconfig.machine()
            )
        return digest


def _from(instructions: list[Instruction]) -> Instruction:
    return next(each for each in instructions if each.name == "FROM")


def _hash(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()
