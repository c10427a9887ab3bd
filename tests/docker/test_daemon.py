"""The engine itself goes away: an engine of the test's own is stopped and started."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from cooperbench.errors import SandboxLost, SandboxStartError
from cooperbench.eval.backends.docker import DockerBackend
from tests.docker import engines


class Daemon:
    """A dockerd on a socket and a directory of its own."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self.address = f"unix://{directory}/socket"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with (self._directory / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [
                    # In a network of its own: it would take the bridge away from the machine's engine.
                    *("unshare", "--net", "dockerd"),
                    f"--host={self.address}",
                    f"--data-root={self._directory}/data",
                    f"--exec-root={self._directory}/exec",
                    f"--pidfile={self._directory}/pid",
                    "--bridge=none",
                    "--iptables=false",
                    "--ip-masq=false",
                ],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        until = time.monotonic() + 60
        backend = DockerBackend(host=self.address)
        while not backend.diagnose()[0][0]:
            if self._process.poll() is not None or time.monotonic() > until:
                engines.missing(f"a second dockerd does not start: {self.said()}")
            time.sleep(0.1)
        backend.close()

    def stop(self) -> None:
        if self._process is not None:
            self._process.terminate()
            self._process.wait(60)

    def said(self) -> str:
        return (self._directory / "log").read_text()[-500:]


@pytest.fixture
def daemon() -> Iterator[Daemon]:
    if shutil.which("dockerd") is None or os.getuid() != 0:
        engines.missing("needs dockerd and root: apt-get install docker.io")
    directory = Path(tempfile.mkdtemp(prefix="cbd"))  # its path is part of a socket's, which must be short
    daemon = Daemon(directory)
    try:
        daemon.start()
        yield daemon
    finally:
        daemon.stop()
        shutil.rmtree(directory, ignore_errors=True)


def test_the_engine_is_stopped_and_started_again(daemon: Daemon) -> None:
    with contextlib.closing(DockerBackend(host=daemon.address, pull="never", network="none")) as backend:
        engines.make_image(backend, engines.IMAGE, {"build.sh": "true\n"})
        sandbox = backend.create_sandbox(engines.IMAGE)
        seen: list[BaseException | object] = []

        def stay() -> None:
            try:
                seen.append(sandbox.exec("sleep", "60"))
            except SandboxLost as lost:
                seen.append(lost)

        thread = threading.Thread(target=stay)
        thread.start()
        time.sleep(0.5)
        daemon.stop()
        thread.join(30)
        assert isinstance(seen[0], SandboxLost), seen
        with pytest.raises(SandboxLost):
            sandbox.exec("true")
        with pytest.raises(SandboxStartError, match="does not answer"):
            backend.create_sandbox(engines.IMAGE)
        daemon.start()
        sandbox.terminate()
        again = backend.create_sandbox(engines.IMAGE)
        assert again.exec("echo", "back").stdout == b"back\n"
        again.terminate()
        assert engines.containers_of(backend) == []
