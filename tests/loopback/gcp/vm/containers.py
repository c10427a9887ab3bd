"""Containers of a loopback VM: sandboxes of our embedded backend behind docker's ways of speaking about them."""

from __future__ import annotations

import hashlib
import threading
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from cooperbench.errors import CooperBenchError, SandboxLost
from cooperbench.eval.backends.base import Completed, Network, SandboxSpec
from cooperbench.eval.backends.local import LocalBackend
from cooperbench.eval.backends.local.sandbox import LocalSandbox
from tests.loopback.gcp.vm.options import CommandFailed

LIFETIME = 86400
"""Seconds: containers have no end of their own."""
KILLED = 137


@dataclass(slots=True)
class Container:
    """One container: created, running its main process, or exited with its files still there."""

    name: str
    image: str
    argv: Sequence[str]
    env: Mapping[str, str]
    workdir: str
    network: str
    labels: Mapping[str, str]
    sandbox: LocalSandbox
    removed_at_exit: bool = False
    id: str = field(default_factory=lambda: uuid.uuid4().hex * 2)
    status: str = "created"
    result: Completed | None = None
    ended: threading.Event = field(default_factory=threading.Event)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def start(self, stdin: bytes = b"") -> None:
        """Run its main process, in a thread."""
        with self._lock:
            if self.status == "running":
                return
            self.status = "running"
            self.ended.clear()
        threading.Thread(target=self._main, args=(stdin,), name=f"container {self.name}", daemon=True).start()

    def _main(self, stdin: bytes) -> None:
        try:
            self.result = self.sandbox.run(self.argv, env=self.env, cwd=self.workdir, stdin=stdin)
            self._kill_rest()
        except SandboxLost:
            self.result = Completed(KILLED)
        finally:
            self.status = "exited"
            self.ended.set()

    def exec(
        self, argv: Sequence[str], env: Mapping[str, str], workdir: str | None, stdin: bytes
    ) -> Completed:
        """One more process in it."""
        if self.status != "running":
            raise CommandFailed(f"Error response from daemon: container {self.id} is not running")
        return self._run(argv, env={**self.env, **env}, cwd=workdir or self.workdir, stdin=stdin)

    def inside(self, *argv: str, stdin: bytes = b"") -> Completed:
        """A process of the engine's own in its files, whether it runs or not."""
        return self._run(argv, env={}, cwd="/", stdin=stdin)

    def _run(self, argv: Sequence[str], *, env: Mapping[str, str], cwd: str, stdin: bytes) -> Completed:
        try:
            return self.sandbox.run(argv, env=env, cwd=cwd, stdin=stdin)
        except SandboxLost as lost:
            raise CommandFailed(
                f"Error response from daemon: container {self.id} is not running", KILLED
            ) from lost

    def kill(self) -> None:
        """End its processes; its files stay."""
        self._kill_rest()
        self.ended.wait(30)

    def _kill_rest(self) -> None:
        """PID 1 of a container takes everything in it along."""
        self.inside("/bin/sh", "-c", "kill -KILL -1")

    @property
    def code(self) -> int:
        """Exit code of its main process."""
        return self.result.returncode if self.result else 0


@dataclass(frozen=True, slots=True)
class Published:
    """An image in the registry: the embedded backend's that it is made of, and what docker knows beside its files."""

    image: str
    env: Mapping[str, str] = field(default_factory=dict)
    entrypoint: tuple[str, ...] = ()


class Shelf:
    """The images a registry has and the containers made of them: shared by all VMs, for one embedded backend is enough.

    An image is one that the embedded backend knows, by its own name or one given with `also`.
    """

    def __init__(self, backend: LocalBackend, bridge: Network = "open") -> None:
        self.backend = backend
        self._bridge: Network = bridge
        """What a container gets that asks for no network in particular."""
        self._also: dict[str, Published] = {}

    def also(
        self, name: str, image: str, *, env: Mapping[str, str] | None = None, entrypoint: str = ""
    ) -> None:
        """Have the registry know `image` under another name, and with a configuration."""
        self._also[name] = Published(image, env or {}, tuple(entrypoint.split()))

    def published(self, image: str) -> Published:
        """What a name stands for, with or without its digest."""
        name = image.partition("@")[0]
        return self._also.get(name) or Published(name)

    def digest(self, image: str) -> str:
        """Of an image in the registry."""
        try:
            digest = self.backend.prepare_image(self.published(image).image, None)
        except CooperBenchError as error:
            text = f"Error response from daemon: manifest for {image} not found: manifest unknown: {error}"
            raise CommandFailed(text) from error
        if "@" in image and not image.endswith(f"@{digest}"):
            raise CommandFailed(
                f"Error response from daemon: manifest for {image} not found: manifest unknown"
            )
        return digest or f"sha256:{hashlib.sha256(image.encode()).hexdigest()}"

    def sandbox(self, image: str, network: str, workdir: str) -> LocalSandbox:
        """What a container is made of."""
        networks: dict[str, Network] = {
            "none": "none",
            "host": "host",
            "bridge": self._bridge,
            "default": self._bridge,
        }
        if network not in networks:
            raise CommandFailed(f"Error response from daemon: network {network} not found", 125)
        spec = SandboxSpec(self.published(image).image, LIFETIME, workdir, networks[network])
        try:
            return self.backend.create(spec)
        except CooperBenchError as error:
            raise CommandFailed(f"Error response from daemon: {error}", 125) from error
