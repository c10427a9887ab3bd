"""One VM: a directory, a container engine, and tasks' processes in namespaces of their own.

A process sees the VM's directory as /mnt, a /tmp of the VM's, no other process, and a read-only root, as on
Container-Optimized OS; its PATH holds what that has (from memory: there is no Python, git or jq). It dies with whoever
started it.
"""

from __future__ import annotations

import os
import select
import shutil
import signal
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.loopback.gcp.jobs import TOO_LONG
from tests.loopback.gcp.vm.containers import Shelf
from tests.loopback.gcp.vm.engine import Engine
from tests.loopback.gcp.vm.own_engine import OwnEngine

TOOLS = """
sh bash awk base64 basename cat chmod chown cmp comm cp curl cut date df dirname du env expr false find flock
grep gzip head hostname id kill ln ls md5sum mkdir mkfifo mktemp mv nice nproc od paste printf ps pwd
readlink realpath rm rmdir sed seq setsid sha256sum sleep sort split stat sync tail tar tee test timeout
touch tr true uname uniq wc xargs
"""
_INSIDE = """set -e
"$1" --bind "$2" /mnt
"$1" --bind /mnt/tmp /tmp
"$1" -o remount,bind,ro /
shift 2
cd /tmp
exec "$@"
"""


def toolbox(directory: Path, *, own_docker: bool = False) -> Path:
    """A directory with the programs that a VM has; with `own_docker`, this machine's docker is theirs too."""
    directory.mkdir()
    for name in TOOLS.split():
        found = shutil.which(name)
        if found:
            (directory / name).symlink_to(found)
    for program in (Path(__file__).parent / "bin").glob("*.*"):
        text = program.read_text()
        if program.suffix == ".py":
            text = f"#!{os.path.realpath(sys.executable)} -IS\n{text}"  # not a venv's: that may lie in /tmp
        (directory / program.stem).write_text(text)
        (directory / program.stem).chmod(0o755)
    if own_docker:
        (directory / "engine-docker").symlink_to(_program("docker"))
        (directory / "own-docker").replace(directory / "docker")
    return directory


class Machine:
    """Runs processes until it dies; without a shelf, its containers are on this machine's own engine."""

    def __init__(self, root: Path, tools: Path, shelf: Shelf | None) -> None:
        self.name = f"vm-{uuid.uuid4().hex[:8]}"
        self.directory = root / self.name
        self.directory.mkdir(parents=True)
        (self.directory / "tmp").mkdir(mode=0o1777)
        shutil.copytree(tools, self.directory / "bin", symlinks=True)
        self.engine = OwnEngine(self.directory) if shelf is None else Engine(self.directory, shelf)
        self.lost: int | None = None
        """The reserved exit code of its end, once it has come."""
        self._lock = threading.Lock()
        self._processes: set[subprocess.Popen[bytes]] = set()

    def die(self, code: int) -> None:
        """Everything on it is gone, at once."""
        with self._lock:
            if self.lost is not None:
                return
            self.lost = code
            processes = list(self._processes)
        for process in processes:
            _kill(process)
        self.engine.close()

    def close(self) -> None:
        """Gone, and its disk."""
        self.die(0)
        shutil.rmtree(self.directory, ignore_errors=True)

    def script(self, text: str, env: Mapping[str, str], until: float) -> int:
        """Run a script; its exit code, or the reserved one of what ended it."""
        name = f"script-{uuid.uuid4().hex}"
        (self.directory / name).write_text(text)
        first = text.partition("\n")[0]
        # Not executed itself: a file just written by a process with other forks under way is "busy".
        interpreter = first[2:].split() if first.startswith("#!") else ["/bin/sh"]
        return self.run([*interpreter, f"/mnt/{name}"], env, until)

    def run(self, argv: Sequence[str], env: Mapping[str, str], until: float) -> int:
        """Run a program to its end, or until a point of the monotonic clock."""
        process = self.start(argv, env)
        if process is None:
            assert self.lost is not None
            return self.lost
        try:
            if not _ended(process, until):
                return TOO_LONG if self.lost is None else self.lost
            code = process.wait()
        finally:
            self.stop(process)
        if self.lost is not None:
            return self.lost
        return code if code >= 0 else 128 - code

    def start(self, argv: Sequence[str], env: Mapping[str, str]) -> subprocess.Popen[bytes] | None:
        """A process of the VM; None if the VM is gone."""
        users = [] if os.geteuid() == 0 else ["--user", "--map-root-user"]
        spaces = [
            "--mount",
            "--pid",
            "--fork",
            "--kill-child=KILL",
            "--mount-proc",
            "--propagation",
            "private",
        ]
        inside = ["/bin/sh", "-c", _INSIDE, "sh", _program("mount"), str(self.directory), *argv]
        with self._lock, (self.directory / "log").open("ab") as log:
            if self.lost is not None:
                return None
            process = subprocess.Popen(
                [_program("setpriv"), "--pdeathsig", "KILL", _program("unshare"), *users, *spaces, *inside],
                env={"PATH": "/mnt/bin", "HOME": "/root", **env},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
            self._processes.add(process)
        return process

    def stop(self, process: subprocess.Popen[bytes]) -> None:
        """End a process and everything it started."""
        _kill(process)
        process.wait()
        with self._lock:
            self._processes.discard(process)

    @property
    def log(self) -> str:
        """What its tasks said."""
        return (self.directory / "log").read_text(errors="replace")


def _program(name: str) -> str:
    found = shutil.which(name)
    assert found, f"{name} is not installed"
    return found


def _ended(process: subprocess.Popen[bytes], until: float) -> bool:
    handle = os.pidfd_open(process.pid)
    try:
        poll = select.poll()
        poll.register(handle, select.POLLIN)
        return bool(poll.poll(max(0.0, until - time.monotonic()) * 1000))
    finally:
        os.close(handle)


def _kill(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        os.kill(process.pid, signal.SIGKILL)
