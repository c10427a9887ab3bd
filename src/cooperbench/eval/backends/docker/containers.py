"""Containers: made, started with their first lane, looked at when something is wrong, removed."""

from __future__ import annotations

import contextlib
import logging
import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from cooperbench.errors import SandboxStartError
from cooperbench.eval.backends.base import SandboxSpec
from cooperbench.eval.backends.docker import networks, owner
from cooperbench.eval.backends.docker.config import Settings
from cooperbench.eval.backends.docker.engine import Engine, EngineGone, Refused, complaints, one_line
from cooperbench.eval.backends.docker.lane import Lane, LaneLost, new_word
from cooperbench.eval.backends.docker.stream import Stream

log = logging.getLogger(__name__)

_DROPPED = ["MKNOD", "NET_RAW"]
_READY = 120.0
_NETWORKING = ("cni plugin", "netavark", "netns", "failed to create endpoint", "set up container networking")
_ATTACH = {"stdin": 1, "stdout": 1, "stderr": 1, "stream": 1}


@dataclass(frozen=True, slots=True)
class State:
    """What the engine says of a container."""

    running: bool
    why: str
    """Why it is not running."""


def start(engine: Engine, settings: Settings, spec: SandboxSpec) -> tuple[str, Lane]:
    """A running container and its first lane, which is its first process.

    Raises:
        SandboxStartError: no, and why. Refused: with status 404, the image is not there.
    """
    try:
        return _start(engine, settings, spec)
    except SandboxStartError as problem:
        if not (_is_without_shell(str(problem)) or _is_without_network(str(problem))):
            raise
        # A busy engine has been seen to start one whose files were not there yet, and to lose the network it was
        # giving to one. One more look is cheap.
        log.info("once more, after: %s", problem)
        return _start(engine, settings, spec)


def _start(engine: Engine, settings: Settings, spec: SandboxSpec) -> tuple[str, Lane]:
    ready = new_word()
    network = networks.of(engine, settings, spec)
    config = configuration(settings, spec, network, Lane.command(ready, spec.workdir))
    name = f"cooperbench-{secrets.token_hex(8)}"
    with complaints(engine, f"making a container of {spec.image}"):
        container = str(engine.api.create_container_from_config(config, name)["Id"])
    try:
        return container, _begin(engine, container, ready, spec)
    except BaseException:
        with contextlib.suppress(EngineGone, Refused):
            remove(engine, container)
        raise


def configuration(
    settings: Settings, spec: SandboxSpec, network: str, command: list[str]
) -> dict[str, object]:
    """What the engine is asked to make."""
    return {
        "Image": spec.image,
        # Both are given: with an empty entrypoint Podman runs the image's own.
        "Entrypoint": command[:1],
        "Cmd": command[1:],
        "User": "0",
        "WorkingDir": "/",
        "Env": [f"{name}={value}" for name, value in settings.env.items()],
        "Labels": owner.labels(spec.labels, spec.timeout),
        "Healthcheck": {"Test": ["NONE"]},
        "StopSignal": "SIGKILL",
        "Tty": False,
        "OpenStdin": True,
        # The lane's input ends with the harness's connection, and the lane with its input.
        "StdinOnce": True,
        "AttachStdin": True,
        "AttachStdout": True,
        "AttachStderr": True,
        "HostConfig": {
            "NetworkMode": network,
            "LogConfig": {"Type": "none"},
            "Memory": settings.memory,
            "MemorySwap": settings.memory,
            "NanoCpus": int(settings.cpus * 1_000_000_000),
            "PidsLimit": settings.processes,
            "ShmSize": settings.shared_memory,
            "SecurityOpt": ["no-new-privileges"],
            "CapDrop": _DROPPED,
        },
    }


def _begin(engine: Engine, container: str, ready: str, spec: SandboxSpec) -> Lane:
    try:
        with complaints(engine, f"attaching to a container of {spec.image}"):
            stream = Stream(engine.api.attach_socket(container, params=_ATTACH))
    except Refused as refused:  # Podman looks for the program to run here already
        raise SandboxStartError(_explained(engine, spec, str(refused))) from refused
    lane = Lane(stream, ready)
    try:
        with complaints(engine, f"starting a container of {spec.image}"):
            engine.api.start(container)
        lane.wait_ready(_READY)
    except LaneLost as lost:
        lane.close()
        raise SandboxStartError(_never_began(engine, container, spec, str(lost))) from lost
    except TimeoutError as late:
        lane.close()
        raise SandboxStartError(f"a container of {spec.image} did not begin within {_READY:g} s") from late
    except Refused as refused:
        lane.close()
        raise SandboxStartError(_explained(engine, spec, str(refused))) from refused
    except BaseException:
        lane.close()
        raise
    return lane


def _never_began(engine: Engine, container: str, spec: SandboxSpec, said: str) -> str:
    state = look(engine, container, patience=2)
    return _explained(
        engine, spec, f"a container of {spec.image} ended at once: {one_line(said) or state.why}"
    )


def _explained(engine: Engine, spec: SandboxSpec, told: str) -> str:
    if "exec format error" in told.lower():
        return f"{told}: the image is for {_architecture(engine, spec)}, which this machine cannot run"
    if _is_without_shell(told):
        return f"{told}: the image has no POSIX shell at /bin/sh, which a sandbox needs"
    return told


def _is_without_shell(told: str) -> bool:
    return "/bin/sh" in told and ("no such file" in told.lower() or "not found" in told.lower())


def _is_without_network(told: str) -> bool:
    """The engine could not connect it: no fault of the image's, nor of what it was asked for."""
    return any(word in told.lower() for word in _NETWORKING)


def _architecture(engine: Engine, spec: SandboxSpec) -> str:
    with contextlib.suppress(Refused, EngineGone), complaints(engine, "looking at the image"):
        image = engine.api.inspect_image(spec.image)
        return f"{image.get('Architecture')}, the engine's machine is {engine.facts.get('Architecture')}"
    return "another architecture"


def look(engine: Engine, container: str, patience: float = 0) -> State:
    """What became of a container; `patience`: seconds to wait for one that still seems to run.

    Raises:
        EngineGone: the engine does not answer.
    """
    until = time.monotonic() + patience
    while True:
        try:
            with complaints(engine, "looking at a container"):
                state = engine.api.inspect_container(container).get("State") or {}
        except Refused as refused:
            if refused.status == 404:
                return State(False, "it was removed")
            if time.monotonic() > until:
                return State(False, str(refused))
            state = {}  # one that is just being removed, on Podman
        running = bool(state.get("Running")) and state.get("Status") != "removing"
        # Of one that has just been killed Podman says for a moment that it ended with 0.
        settled = not running and state.get("ExitCode", 0) != 0
        if settled or time.monotonic() > until:
            return State(running, _why(state))
        time.sleep(0.05)


def _why(state: Mapping[str, Any]) -> str:
    if state.get("OOMKilled"):
        return "it ran out of memory"
    code = state.get("ExitCode")
    words = f"its first process ended with exit code {code}"
    if code == 137:
        words = "it was killed from outside"
    return f"{words}: {one_line(state['Error'])}" if state.get("Error") else words


def remove(engine: Engine, container: str) -> None:
    """Kill it and remove it, with what belongs to it; one that is gone, or is going, is fine."""
    try:
        with complaints(engine, f"removing container {container[:12]}"):
            engine.api.remove_container(container, force=True, v=True)
    except EngineGone:
        engine.unremoved.add(container)
        raise
    except Refused as refused:
        if refused.status not in (404, 409):
            raise


def remove_unremoved(engine: Engine) -> None:
    """Try again with those that were to go while the engine was away."""
    for container in list(engine.unremoved):
        engine.unremoved.discard(container)
        with contextlib.suppress(EngineGone, Refused):
            remove(engine, container)


def allow_processes(engine: Engine, container: str, number: int) -> None:
    """Change how many processes a container may have; the client library has no name for it."""
    with complaints(engine, "raising a container's limit of processes"):
        api = engine.api
        answer = api._post_json(api._url("/containers/{0}/update", container), data={"PidsLimit": number})
        api._raise_for_status(answer)
