"""The embedded sandbox: many at once, and what is left when things die."""

from __future__ import annotations

import contextlib
import gc
import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest

from cooperbench.errors import SandboxLost
from cooperbench.eval.backends.base import (
    SandboxSpec,
)
from cooperbench.eval.backends.local import LocalBackend, LocalSandbox


def test_fifty_at_once(backend: LocalBackend) -> None:
    def one(number: int) -> bytes:
        sandbox = backend.create_sandbox("host")
        try:
            sandbox.exec("sh", "-c", f"echo {number} >/root/n")
            return sandbox.exec("cat", "/root/n").stdout
        finally:
            sandbox.terminate()

    with ThreadPoolExecutor(50) as pool:
        assert [int(out) for out in pool.map(one, range(50))] == list(range(50))


def test_no_descriptor_is_lost(backend: LocalBackend) -> None:
    backend.create_sandbox("host").terminate()
    gc.collect()  # what earlier tests have dropped
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(10):
        sandbox = backend.create_sandbox("host")
        sandbox.exec("true")
        sandbox.terminate()
    # One of each would be ten; other backends of this process open and close a few of their own meanwhile.
    assert len(os.listdir("/proc/self/fd")) < before + 10


def test_close_ends_everything_and_empties_the_disk(state: Path) -> None:
    own = state / "closing"
    own.mkdir(mode=0o711)
    backend = LocalBackend(state_dir=own)
    sandbox = backend.create_sandbox("host")
    sandbox.exec("sh", "-c", "head -c 1000000 /dev/zero >/root/x; mkdir -m 0 /root/closed")
    backend.close()
    with pytest.raises(SandboxLost):
        sandbox.exec("true")
    assert _left(own) == []
    again = backend.create_sandbox("host")
    assert again.exec("true").returncode == 0
    backend.close()


HARNESS = """
import os, sys, threading, time
from cooperbench.eval.backends.local import LocalBackend
ID = os.getpid()
HOSTILE = f'(setsid nohup sleep 7001.{ID} &); (trap "" HUP TERM; setsid sleep 7002.{ID} &)'
backend = LocalBackend(state_dir=sys.argv[1])
for _ in range(3):
    sandbox = backend.create_sandbox("host")
    sandbox.exec("bash", "-c", f"exec >/dev/null 2>&1; {HOSTILE}")
    threading.Thread(target=lambda: sandbox.exec("sleep", f"7003.{ID}"), daemon=True).start()
if "copy" in sys.argv and os.fork() == 0:
    time.sleep(600)
    os._exit(0)
print(backend._engine.launcher._process.pid, flush=True)
time.sleep(600)
"""


@pytest.mark.parametrize("variant", ["alone", "copy"])
@pytest.mark.parametrize("victims", ["harness", "harness and zygote"])
def test_kill_9_of_the_harness_leaves_nothing(state: Path, variant: str, victims: str) -> None:
    command = [sys.executable, "-c", HARNESS, str(state), variant]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True) as harness:
        assert harness.stdout
        zygote = int(harness.stdout.readline())
        up = time.monotonic() + 60
        while len(_sleepers(harness.pid)) < 9 and time.monotonic() < up:
            time.sleep(0.05)
        assert len(_sleepers(harness.pid)) == 9
        harness.kill()
        if "zygote" in victims:
            os.kill(zygote, signal.SIGKILL)
        killed = time.monotonic()
        while _sleepers(harness.pid) and time.monotonic() - killed < 60:
            time.sleep(0.01)
        assert _sleepers(harness.pid) == []
        assert str(state) not in Path("/proc/self/mounts").read_text()
        for copy in psutil.process_iter():  # the forked copy still holds the lock
            if copy.pid != harness.pid and _session(copy) == harness.pid:
                with contextlib.suppress(psutil.NoSuchProcess):
                    copy.kill()
    _collected(state, timeout=60)


def _session(process: psutil.Process) -> int:
    try:
        return os.getsid(process.pid)
    except OSError:
        return 0


def _sleepers(harness: int) -> list[int]:
    wanted = {f"sleep 700{number}.{harness}" for number in (1, 2, 3)}
    found = []
    for process in psutil.process_iter(["cmdline", "status"]):  # leaves out who ends meanwhile
        if (
            " ".join(process.info["cmdline"] or ()) in wanted
            and process.info["status"] != psutil.STATUS_ZOMBIE
        ):
            found.append(process.pid)
    return found


def _collected(state: Path, timeout: float) -> None:
    """The next start clears away what the dead left."""
    until = time.monotonic() + timeout
    while True:
        backend = LocalBackend(state_dir=state)
        backend.sweep()
        backend.close()
        if not _left(state) or time.monotonic() > until:
            break
        time.sleep(0.05)
    assert _left(state) == []


def _left(state: Path) -> list[str]:
    """Sandboxes' files, but those of live processes."""
    live = {path.name for path in state.glob("*/owners/*") if psutil.pid_exists(int(path.name.split("-")[0]))}
    run = [str(path) for path in state.glob("*/run/*/*") if path.parent.name not in live]
    return run + [str(path) for path in state.glob("*/trash/*")]


def test_ctrl_c_is_the_harness_s_to_interpret(state: Path) -> None:
    program = """
import os, signal, sys
from cooperbench.eval.backends.local import LocalBackend
backend = LocalBackend(state_dir=sys.argv[1])
sandbox = backend.create_sandbox("host")
signal.signal(signal.SIGINT, lambda *_: None)
os.killpg(0, signal.SIGINT)
print(sandbox.exec("echo", "alive").stdout_read(), backend.create_sandbox("host").exec("true").returncode)
backend.close()
"""
    command = [sys.executable, "-c", program, str(state)]
    done = subprocess.run(
        command, capture_output=True, text=True, start_new_session=True, check=False, timeout=240
    )
    assert done.stdout == "alive\n 0\n", done.stderr


def test_terminate_under_load_is_safe(backend: LocalBackend) -> None:
    """Create, use and terminate from many threads; nothing hangs, and no stranger's descriptor is closed."""
    wrong: list[str] = []

    def work() -> None:
        for _ in range(5):
            sandbox = backend.create_sandbox("host")
            ender = threading.Timer(0.01, sandbox.terminate)
            ender.start()
            try:
                while True:
                    if sandbox.exec("echo", "x").stdout != b"x\n":
                        wrong.append("output")
            except Exception as error:
                if type(error).__name__ != "SandboxLost":
                    wrong.append(repr(error))
            ender.join()

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(240)
        assert not thread.is_alive()
    assert wrong == []


def test_what_a_sandbox_says_of_itself(backend: LocalBackend) -> None:
    sandbox = backend.create(SandboxSpec("host", labels={"run": "r"}))
    assert isinstance(sandbox, LocalSandbox)
    assert "terminated" not in repr(sandbox)
    sandbox.terminate()
    assert "terminated" in repr(sandbox)
    with pytest.raises(ValueError, match="NUL"):
        backend.create_sandbox("host").exec("echo", "a\0b")
    with pytest.raises(ValueError, match="no program"):
        backend.create_sandbox("host").exec()
