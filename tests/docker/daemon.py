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
from tests.contract import become_user
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


_WITHOUT_NETWORKS = ("--bridge=none", "--iptables=false", "--ip-masq=false")


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
                    *_places(self.directory),
                    *_WITHOUT_NETWORKS,
                    *self._options,
                ],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                pass_fds=[] if self._listening is None else [self._listening],
            )
        _wait_for(self.address, self._process, self.directory / "log")

    def stop(self) -> None:
        if self._process is not None:
            self._process.terminate()
            self._process.wait(_PATIENCE)


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


@contextlib.contextmanager
def rootless() -> Iterator[str]:
    """The address of a daemon of an ordinary user's, who has no right on this machine but a range of ids."""
    program = shutil.which("rootlesskit")
    if program is None or shutil.which("dockerd") is None or os.getuid() != 0:
        engines.missing("needs dockerd, rootlesskit and root: apt-get install docker.io rootlesskit uidmap")
    directory = Path(tempfile.mkdtemp(prefix="cbr"))
    os.chown(directory, become_user.UID, become_user.UID)
    address = f"unix://{directory}/socket"
    # The user's own view of /run, where the daemon looks for what is the machine's engine's.
    inside = 'rm -f /run/docker /run/containerd /run/xtables.lock; exec "$@"'
    with (directory / "log").open("wb") as log:
        process = subprocess.Popen(
            [
                *("unshare", "--net", sys.executable, become_user.__file__, "yes", str(directory)),
                *(program, "--net=host", "--copy-up=/etc", "--copy-up=/run", f"--state-dir={directory}/kit"),
                *("sh", "-c", inside, "sh", "dockerd", "--rootless", f"--host={address}"),
                *_places(directory),
                *_WITHOUT_NETWORKS,
            ],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env={**os.environ, "XDG_RUNTIME_DIR": str(directory)},
        )
    try:
        _wait_for(address, process, directory / "log")
        yield address
    finally:
        process.terminate()
        process.wait(_PATIENCE)
        shutil.rmtree(directory, ignore_errors=True)


def _places(directory: Path) -> list[str]:
    kinds = (("data-root", "data"), ("exec-root", "exec"), ("pidfile", "pid"))
    return [f"--{kind}={directory / name}" for kind, name in kinds]


def _wait_for(address: str, process: subprocess.Popen[bytes], log: Path) -> None:
    until = time.monotonic() + _PATIENCE
    while True:
        with contextlib.closing(DockerBackend(host=address)) as backend:
            if backend.diagnose()[0][0]:
                return
        if process.poll() is not None or time.monotonic() > until:
            engines.missing(f"a second dockerd does not start: {log.read_text()[-500:]}")
        time.sleep(0.1)
