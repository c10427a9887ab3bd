"""One running instance of the embedded sandbox: a rung, a state directory, a zygote, an image store."""

from __future__ import annotations

import contextlib
import itertools
import logging
import os
import select
import socket
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cooperbench.errors import SandboxStartError
from cooperbench.eval.backends.base import SandboxSpec
from cooperbench.eval.backends.local import hostimage, network, state
from cooperbench.eval.backends.local.config import Settings
from cooperbench.eval.backends.local.identity import Ids
from cooperbench.eval.backends.local.images import Image, ImageStore
from cooperbench.eval.backends.local.inside import wire
from cooperbench.eval.backends.local.launcher import Launcher
from cooperbench.eval.backends.local.sandbox import Life, LocalSandbox
from cooperbench.eval.backends.local.store import gc
from cooperbench.eval.backends.local.store.claims import Claims
from cooperbench.eval.backends.local.store.layers import Unpacker

log = logging.getLogger(__name__)

HOSTNAME = "sandbox"
_ENVIRONMENT = {
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "LANG": "C.UTF-8",
}
_START_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Extras:
    """What a build asks for beyond a sandbox."""

    binds: Sequence[Mapping[str, Any]] = ()
    """Directories made beside the writable layer and mounted over the image: ``{name, at, mode}``."""
    build: bool = False
    """What is written will be made a layer: it outlives the sandbox, on disk."""
    probe: bool = False
    """Writes next to nothing, and runs on a full disk too: else chance would say that the disk cannot be used."""


_NO_EXTRAS = Extras()


class Engine:
    """Makes sandboxes; all of it belongs to one process."""

    def __init__(self, settings: Settings, ids: Ids, *, disk: bool) -> None:
        self.settings = settings
        self.ids = ids
        self.disk = disk
        """The state directory's file system can take what sandboxes write."""
        self.in_memory = settings.in_memory or not disk
        self.pid = os.getpid()
        self._numbers = itertools.count(1)
        self._live: dict[int, LocalSandbox] = {}
        self.state = state.State(Path(settings.state_dir or state.default_directory()), ids)
        try:
            self.launcher = Launcher(ids, self.state.path, self.state.owner)
        except BaseException:
            self.state.close()
            raise
        self.claims = Claims(self.state)
        self.images = ImageStore(self.state, self.launcher, self.claims)

    @property
    def unpacker(self) -> Unpacker:
        """Makes image layers."""
        return Unpacker(self.state, self.launcher, self.ids.many, self.settings.disk_reserve)

    def create(self, spec: SandboxSpec, image: Image, extras: Extras = _NO_EXTRAS) -> LocalSandbox:
        """A new sandbox of this image, which nobody removes while it lives.

        Raises:
            NoSuchImage: somebody just has. SandboxStartError: it cannot be made.
        """
        self.images.begin_use(image)
        try:
            return self._create(spec, image, extras)
        except BaseException:
            self.images.end_use(image)
            raise

    def _create(self, spec: SandboxSpec, image: Image, extras: Extras) -> LocalSandbox:
        number = next(self._numbers)
        on_disk = self.disk if extras.build else not self.in_memory
        upper = self.state.upper(number) if on_disk else None
        plan = network.plan(spec.network or self.settings.network)
        deadline = time.monotonic() + spec.timeout
        control, theirs = wire.pair()
        lifeline = os.pipe() if plan.mode == "open" else ()
        handles: list[int] = []
        try:
            with theirs, wire.closing(lifeline[1:]):
                message = self._message(spec, image, plan, upper, extras)
                self.launcher.create(message, (theirs.fileno(), *lifeline[1:]))
            handles = _born(control)
            helper = network.Helper(handles[1], handles[2], lifeline[0]) if lifeline else None
        except BaseException:
            control.close()  # which ends what there is of it
            wire.close_all(handles[:1])
            if upper:
                self.bury(upper)
            raise
        finally:
            wire.close_all([*handles[1:], *lifeline[:1]])
        life = Life(
            number=number,
            name=f"{self.pid}-{number}",
            control=control,
            handle=handles[0],
            deadline=deadline,
            env={**_ENVIRONMENT, **image.env, **self.settings.env},
            workdir=_workdir(spec, image),
            output=self.settings.output,
            buried=lambda: self._buried(number, image, None if extras.build else upper, helper),
        )
        self._live[number] = LocalSandbox(life)
        return self._live[number]

    def _buried(self, number: int, image: Image, upper: str | None, helper: network.Helper | None) -> None:
        self._live.pop(number, None)
        self.images.end_use(image)
        if helper:
            helper.end()
        if upper:
            self.bury(upper)

    def _message(
        self, spec: SandboxSpec, image: Image, plan: network.Plan, upper: str | None, extras: Extras
    ) -> dict[str, Any]:
        settings = self.settings
        return {
            "layers": image.layers,
            "host": self.places(image),
            "upper": upper,
            "binds": extras.binds,
            "export": extras.build and not upper,
            "memory_disk": "1m" if upper else settings.memory_disk,
            "shared_memory": settings.shared_memory,
            "many_ids": self.ids.many,
            "network": plan.message(),
            "files": plan.files,
            "hostname": HOSTNAME,
            "workdir": _workdir(spec, image),
            "user": spec.user or image.user,
            "lifetime": spec.timeout,
            "limits": {
                "memory": settings.memory,
                "processes": settings.processes,
                "file_size": settings.file_size,
                "open_files": settings.open_files,
                "disk_reserve": settings.disk_reserve if upper and not extras.probe else 0,
            },
        }

    def places(self, image: Image) -> list[dict[str, Any]]:
        """The host's directories under this image."""
        return hostimage.places_message() if image.host else []

    def bury(self, upper: str) -> None:
        """A writable layer nobody needs any more."""
        self.state.discard(upper)
        with contextlib.suppress(SandboxStartError):  # the zygote is gone: the next start collects
            self.launcher.sweep()

    def sweep(self) -> list[str]:
        """Remove what dead harnesses left, and images nobody can ask for any more; waits until it is gone."""
        lines = [*self.state.collect(), *gc.prune(self.state, self.claims)]
        self.launcher.ask("empty")
        return lines

    def revive(self) -> None:
        """Another zygote after the last one died; sandboxes of the last one live on."""
        self.launcher.close()
        self.launcher = Launcher(self.ids, self.state.path, self.state.owner)
        self.images = ImageStore(self.state, self.launcher, self.claims)

    def close(self) -> None:
        """Terminate what is left and let go."""
        for sandbox in list(self._live.values()):
            sandbox.terminate()
        self.launcher.close()
        self.claims.close()
        self.state.close()


def _workdir(spec: SandboxSpec, image: Image) -> str:
    """As asked for; a relative one (or none) starts from the image's own."""
    return os.path.join("/", image.workdir, spec.workdir).rstrip("/") or "/"


def _born(control: socket.socket) -> list[int]:
    """Wait until the new sandbox says it is ready; returns the handle of its PID 1, and of what else was asked for."""
    handles: list[int] = []
    ready = False
    poll = select.poll()
    poll.register(control, select.POLLIN)
    until = time.monotonic() + _START_SECONDS
    try:
        while not (handles and ready):
            if not poll.poll(max(0.0, until - time.monotonic()) * 1000):
                raise SandboxStartError("local backend: a new sandbox does not answer")
            message, descriptors = wire.receive(control)
            handles += descriptors
            if message is None:
                raise SandboxStartError("local backend: the sandbox died while it was made")
            if "error" in message:
                raise SandboxStartError(f"local backend: {str(message['error'])[:500]}")
            ready = ready or "ready" in message
    except (OSError, ValueError) as error:
        wire.close_all(handles)
        raise SandboxStartError(f"local backend: the sandbox died while it was made: {error}") from error
    except BaseException:
        wire.close_all(handles)
        raise
    return handles
