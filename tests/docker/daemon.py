"""Engines of the tests' own: to be stopped, filled up and spoken to over TLS, which is not for the machine's own."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from cooperbench.eval.backends.docker import DockerBackend
from tests.docker import engines

_PATIENCE = 120
"""Seconds for a daemon to start, or to end, on a busy machine."""

_WITH_SOCKET = """
import os, sys
os.dup2(int(sys.argv[1]), 3)
os.environ.update(LISTEN_FDS="1", LISTEN_PID=str(os.getpid()))
os.execvp(sys.argv[2], sys.argv[2:])
"""
"""Passes a listening socket on, as systemd does."""


class Daemon:
    """A dockerd on a socket and a directory of its own."""

    def __init__(self, directory: Path, options: Sequence[str] = (), listening: int | None = None) -> None:
        self.directory = directory
        self.address = f"unix://{directory}/socket"
        self._options = [*options, *(["--host=fd://"] if listening is not None else [])]
        self._listening = listening
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        passing = []
        if self._listening is not None:
            passing = [sys.executable, "-c", _WITH_SOCKET, str(self._listening)]
        with (self.directory / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [
                    *passing,
                    # In a network of its own: it would take the bridge away from the machine's engine.
                    *("unshare", "--net", "dockerd"),
                    f"--host={self.address}",
                    f"--data-root={self.directory}/data",
                    f"--exec-root={self.directory}/exec",
                    f"--pidfile={self.directory}/pid",
                    "--bridge=none",
                    "--iptables=false",
                    "--ip-masq=false",
                    *self._options,
                ],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                pass_fds=[] if self._listening is None else [self._listening],
            )
        self._wait()

    def _wait(self) -> None:
        until = time.monotonic() + _PATIENCE
        while True:
            with contextlib.closing(DockerBackend(host=self.address)) as backend:
                if backend.diagnose()[0][0]:
                    return
            assert self._process is not None
            if self._process.poll() is not None or time.monotonic() > until:
                engines.missing(f"a second dockerd does not start: {self.said()}")
            time.sleep(0.1)

    def stop(self) -> None:
        if self._process is not None:
            self._process.terminate()
            self._process.wait(_PATIENCE)

    def said(self) -> str:
        return (self.directory / "log").read_text()[-500:]


@contextlib.contextmanager
def running(
    options: Sequence[str] = (), *, disk: str = "", listener: socket.socket | None = None
) -> Iterator[Daemon]:
    """A daemon for a while.

    Args:
        disk: size of a file system of its own for all it keeps, as in ``600m``.
        listener: a socket to answer on besides its own.
    """
    if shutil.which("dockerd") is None or os.getuid() != 0:
        engines.missing("needs dockerd and root: apt-get install docker.io")
    directory = Path(tempfile.mkdtemp(prefix="cbd"))  # its path is part of a socket's, which must be short
    daemon = Daemon(directory, options, None if listener is None else listener.fileno())
    data = directory / "data"
    data.mkdir()
    try:
        if disk:
            subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={disk}", "cbdisk", data], check=True)
        daemon.start()
        yield daemon
    finally:
        daemon.stop()
        if disk:
            subprocess.run(["umount", "-l", data], check=False)
        shutil.rmtree(directory, ignore_errors=True)
