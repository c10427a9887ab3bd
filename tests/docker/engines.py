"""Real engines to test on, and images for them made of this machine's own programs: no registry is needed.

Where an engine cannot be had, a test is skipped with the reason; where `CI` is set that is a failure.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NoReturn

import pytest

from cooperbench.errors import CooperBenchError, SandboxLost
from cooperbench.eval.backends.base import Recipe
from cooperbench.eval.backends.checks import ConfiguredImage
from cooperbench.eval.backends.docker import DockerBackend, DockerSandbox

IMAGE = "cooperbench-test/plain:host"
CONFIGURED = ConfiguredImage(
    "cooperbench-test/configured:host", "BY_IMAGE", "a 'b' $c", "/the-entrypoint-ran"
)

_CONFIGURED = f"""FROM {IMAGE}
ENV BY_IMAGE="a 'b' \\$c"
VOLUME /var/volume
HEALTHCHECK --interval=1s CMD touch /health-was-checked
ENTRYPOINT ["touch", "/the-entrypoint-ran"]
CMD ["/never"]
"""

_CONTAINERS_CONF = """[containers]
default_ulimits = ["nofile=20000:20000", "nproc=1000:1000"]
[engine]
runtime = "runc"
events_logger = "file"
cgroup_manager = "cgroupfs"
"""

_REGISTRIES_CONF = """[[registry]]
prefix = "127.0.0.1"
location = "127.0.0.1"
insecure = true
"""
"""The tests' own registries speak without TLS, which Docker takes on the loopback and Podman does not."""


def missing(reason: str) -> NoReturn:
    """An engine is not there."""
    if os.environ.get("CI") == "true":
        pytest.fail(reason)
    pytest.skip(reason)


@contextlib.contextmanager
def docker(**settings: Any) -> Iterator[DockerBackend]:
    """The machine's own engine, with the test images on it."""
    backend = DockerBackend(pull="never", **settings)
    try:
        try:
            engine_of(backend)
        except CooperBenchError as problem:
            missing(str(problem))
        make_images(backend)
        yield backend
    finally:
        backend.close()


@contextlib.contextmanager
def podman(*, configuration: str = "", **settings: Any) -> Iterator[DockerBackend]:
    """Podman's service, started for this; `configuration`: more of its ``containers.conf``."""
    program = shutil.which("podman")
    if program is None or os.getuid() != 0:
        missing("needs podman and root: apt-get install podman")
    # Podman's paths must be short, and its storage is not for a directory that is swept with its mounts.
    directory = Path(tempfile.mkdtemp(prefix="cbp"))
    address = f"unix://{directory}/socket"
    process = _service(program, directory, address, configuration)
    backend = DockerBackend(host=address, pull="never", **settings)
    try:
        _wait_for(directory / "socket", process)
        make_images(backend)
        yield backend
    finally:
        backend.close()
        process.terminate()
        process.wait(120)
        subprocess.run(["umount", "-q", "-l", directory / "graph" / "overlay"], check=False)
        shutil.rmtree(directory, ignore_errors=True)


def _service(program: str, directory: Path, address: str, configuration: str) -> subprocess.Popen[bytes]:
    runtime = _CONTAINERS_CONF if shutil.which("runc") else _CONTAINERS_CONF.replace('runtime = "runc"\n', "")
    (directory / "containers.conf").write_text(runtime + configuration)
    (directory / "storage.conf").write_text(
        f'[storage]\ndriver = "overlay"\nrunroot = "{directory}/run"\ngraphroot = "{directory}/graph"\n'
    )
    (directory / "registries.conf").write_text(_REGISTRIES_CONF)
    files = {
        "CONTAINERS_CONF": "containers.conf",
        "CONTAINERS_STORAGE_CONF": "storage.conf",
        "CONTAINERS_REGISTRIES_CONF": "registries.conf",
    }
    with (directory / "log").open("wb") as log:
        return subprocess.Popen(
            [program, "system", "service", "-t", "0", address],
            env={**os.environ, **{name: str(directory / file) for name, file in files.items()}},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )


def _wait_for(socket: Path, process: subprocess.Popen[bytes]) -> None:
    until = time.monotonic() + 120
    while not socket.exists():
        if process.poll() is not None or time.monotonic() > until:
            missing(f"podman's service does not start: {(socket.parent / 'log').read_text()[-300:]}")
        time.sleep(0.05)


def make_images(backend: DockerBackend) -> None:
    """`IMAGE` and `CONFIGURED`, unless the engine has them."""
    make_image(backend, IMAGE, {"build.sh": "true\n"})
    make_image(backend, CONFIGURED.image, {"build.sh": "exit 1\n", "Dockerfile": _CONFIGURED})


def make_image(backend: DockerBackend, image: str, context: Mapping[str, str]) -> str | None:
    """An image by recipe on this machine's programs."""
    with tempfile.TemporaryDirectory() as directory:
        for name, text in context.items():
            Path(directory, name).write_text(text)
        return backend.prepare_image(image, Recipe("host", Path(directory), "build.sh"))


def engine_of(backend: DockerBackend) -> Any:
    """The client library's own object."""
    return backend.client()


@contextlib.contextmanager
def swept_by_nobody_else() -> Iterator[None]:
    """Alone, among all tests of this machine, with what a dead harness leaves on an engine or finds there."""
    with _alone("sweeps"):
        yield


@contextlib.contextmanager
def networked_by_nobody_else() -> Iterator[None]:
    """Alone with a network that bears one name on all engines of this machine, and is one bridge to them."""
    with _alone("networks"):
        yield


@contextlib.contextmanager
def _alone(what: str) -> Iterator[None]:
    with Path(tempfile.gettempdir(), f"cooperbench-test-{what}").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def under_a_command(sandbox: DockerSandbox, act: Callable[[], object]) -> object:
    """What becomes of a command that would stay, and has begun, when `act` is called."""
    seen: list[object] = []

    def stay() -> None:
        try:
            seen.append(sandbox.exec("sh", "-c", "touch /begun; exec sleep 600"))
        except SandboxLost as lost:
            seen.append(lost)

    thread = threading.Thread(target=stay)
    thread.start()
    while sandbox.exec("test", "-e", "/begun").returncode:
        time.sleep(0.02)
    act()
    thread.join(120)
    assert not thread.is_alive()
    return seen[0]


def kill(sandbox: Any) -> None:
    """The container dies behind the backend's back."""
    assert isinstance(sandbox, DockerSandbox)
    sandbox.engine.api.kill(sandbox.container)


def containers_of(backend: DockerBackend) -> list[Any]:
    """Every container of ours on the engine."""
    return list(
        engine_of(backend).containers(all=True, filters={"label": "io.cooperbench.product=cooperbench"})
    )
