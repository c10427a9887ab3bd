"""Finding the engine, talking to it, and its complaints in our words. What it is asked for is elsewhere."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from cooperbench.errors import BackendError, MissingExtra
from cooperbench.eval.backends.docker.config import Settings

_PATIENCE = 300
"""Seconds a call may take; an engine that starts fifty containers at once is slow with each."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where an engine may be."""

    address: str
    why: str
    options: Mapping[str, Any] = field(default_factory=dict)


class Engine:
    """A connection to one engine. Safe to use from any thread of the process that made it."""

    def __init__(self, api: Any, place: Place) -> None:
        self.api = api
        self.place = place
        self.pid = os.getpid()
        self.unremoved: set[str] = set()
        """Containers that were to go while the engine did not answer."""

    @cached_property
    def facts(self) -> Mapping[str, Any]:
        """What the engine says of itself and its machine."""
        with complaints(self, "asking the engine about itself"):
            return dict(self.api.info())

    @property
    def name(self) -> str:
        return f"the Docker engine at {self.place.address}"

    def close(self) -> None:
        self.api.close()


class EngineGone(BackendError):
    """The engine does not answer."""


class Refused(BackendError):
    """The engine answered, and would not."""

    def __init__(self, message: str, status: int, said: str) -> None:
        super().__init__(message)
        self.status = status
        self.said = said


@contextlib.contextmanager
def complaints(engine: Engine, what: str) -> Iterator[None]:
    """Turn what the client library raises while doing `what` into `EngineGone` or `Refused`."""
    from docker.errors import APIError, DockerException
    from requests.exceptions import RequestException
    from urllib3.exceptions import HTTPError

    try:
        yield
    except APIError as error:
        said = one_line(error.explanation or str(error))
        raise Refused(f"{what}: {said}", error.status_code or 0, said) from error
    except (RequestException, HTTPError, OSError) as error:
        raise EngineGone(f"{what}: {engine.name} does not answer ({one_line(error)})") from error
    except (DockerException, ValueError) as error:
        raise Refused(f"{what}: {one_line(error)}", 0, one_line(error)) from error


def one_line(told: object) -> str:
    """At most a line of what somebody said."""
    if isinstance(told, bytes):
        told = told.decode("utf-8", "replace")
    text = " ".join(str(told).split())
    return text if len(text) <= 400 else f"{text[:300]} … {text[-90:]}"


def connect(settings: Settings) -> Engine:
    """The first engine that answers.

    Raises:
        MissingExtra: the client library is not installed. BackendError: no engine answers; says where it was sought.
    """
    try:
        from docker.errors import DockerException
    except ImportError as problem:
        raise MissingExtra("backend 'docker'", "docker") from problem
    from cooperbench.eval.backends.docker import transport

    refusals = []
    for place in places(settings):
        try:
            if place.address.startswith("unix://"):
                transport.answers(place.address.removeprefix("unix://"))
            api = transport.Client(base_url=place.address, version="auto", timeout=_PATIENCE, **place.options)
            transport.install(api, _PATIENCE)
            return Engine(api, place)
        except (DockerException, OSError, ValueError) as problem:
            refusals.append(f"{place.address} ({place.why}): {_reason(problem)}")
    raise EngineGone(
        "no Docker engine answers; start one (dockerd, or `podman system service`) or set DOCKER_HOST. "
        f"Looked at: {'; '.join(refusals) or 'nothing, for there is no socket in any usual place'}"
    )


def _reason(problem: BaseException) -> str:
    """The innermost cause: the outer ones only say that something went wrong inside."""
    told: BaseException = problem
    while (inner := told.__cause__ or told.__context__) is not None and len(str(inner)) > 0:
        told = inner
    text = one_line(told)
    return f"{text}: is this user in the group docker?" if "Permission denied" in text else text


def places(settings: Settings) -> Iterator[Place]:
    """Where to look: what was set, else ``DOCKER_HOST``, else the client's current context, else the usual sockets.

    What somebody chose is not passed over in favour of something else that happens to be there.
    """
    if settings.host:
        yield Place(settings.host, "set as host of the docker backend")
    elif os.environ.get("DOCKER_HOST"):
        yield _from_environment()
    elif (context := _current_context()) is not None:
        yield context
    else:
        yield from _usual_sockets()


def _from_environment() -> Place:
    from docker.utils import kwargs_from_env

    options = dict(kwargs_from_env())
    return Place(options.pop("base_url", os.environ["DOCKER_HOST"]), "DOCKER_HOST", options)


def _current_context() -> Place | None:
    """The context chosen by ``docker context use`` or ``DOCKER_CONTEXT``, unless it is the default one."""
    from docker.context import ContextAPI
    from docker.errors import DockerException

    name = os.environ.get("DOCKER_CONTEXT")
    try:
        context = ContextAPI.get_context(name) if name else ContextAPI.get_current_context()
    except (DockerException, OSError, ValueError, KeyError):
        return None
    if context is None or context.name == "default" or not context.Host:
        return None
    options = {"tls": context.TLSConfig} if context.TLSConfig else {}
    return Place(context.Host.removeprefix("http+"), f"docker context {context.name}", options)


def _usual_sockets() -> Iterator[Place]:
    runtime = os.environ.get("XDG_RUNTIME_DIR") or f"/run/user/{os.getuid()}"
    for path, why in (
        ("/var/run/docker.sock", "the usual socket"),
        (f"{runtime}/docker.sock", "rootless Docker's socket"),
        (f"{Path.home()}/.docker/run/docker.sock", "Docker Desktop's socket"),
        (f"{runtime}/podman/podman.sock", "Podman's socket"),
        ("/run/podman/podman.sock", "Podman's socket"),
    ):
        if Path(path).exists():
            yield Place(f"unix://{path}", why)
