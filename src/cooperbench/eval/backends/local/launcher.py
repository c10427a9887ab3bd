"""The harness's end of the zygote: started when first needed, spoken to from any thread, ended with the harness."""

from __future__ import annotations

import json
import os
import select
import socket
import subprocess
import sys
import threading
import time
import weakref
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cooperbench.errors import SandboxStartError
from cooperbench.eval.backends.local.identity import Ids
from cooperbench.eval.backends.local.inside import wire

# The path goes by the environment: sandboxes can read PID 1's arguments, and are told nothing of the host.
_START = """import os, sys
sys.path.insert(0, os.environ["CB"])
from inside import zygote
zygote.main(int(sys.argv[1]))
"""
_ENVIRONMENT = {
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "LC_ALL": "C.UTF-8",
    "CB": str(Path(__file__).parent),
}
_START_SECONDS = 60.0
_LONGEST_ANSWER = 4096


class Launcher:
    """One running zygote."""

    def __init__(self, ids: Ids, directory: Path, owner: str) -> None:
        self._lock = threading.Lock()
        self._complaints = os.memfd_create("zygote-stderr")
        self._control, theirs = wire.pair()
        try:
            with theirs:
                self._process = self._spawn(theirs)
            hello = {
                "harness": os.getpid(),
                "directory": str(directory),
                "owner": owner,
                "ids": ids.message(),
            }
            wire.send(self._control, hello)
            self._await_ready()
        except BaseException:
            self._control.close()
            os.close(self._complaints)
            raise
        # Documented programs never close a backend: dropping it must be as good.
        self._end = weakref.finalize(self, _end, os.getpid(), self._control, self._process, self._complaints)

    def _spawn(self, theirs: socket.socket) -> subprocess.Popen[bytes]:
        number = theirs.fileno()
        return subprocess.Popen(
            [sys.executable, "-I", "-S", "-c", _START, str(number)],
            pass_fds=[number],
            env=_ENVIRONMENT,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=self._complaints,
            start_new_session=True,  # Ctrl-C in the terminal is for the harness alone
        )

    def _await_ready(self) -> None:
        self._control.settimeout(_START_SECONDS)
        try:
            message, _ = wire.receive(self._control)
        except OSError as error:
            message = {"error": f"no answer: {error}"}
        self._control.settimeout(None)
        if not message or "ready" not in message:
            self._process.kill()
            self._process.wait()
            raise SandboxStartError((message or {}).get("error") or f"zygote died: {self._last_words()}")

    def _last_words(self) -> str:
        text = os.pread(self._complaints, 65536, 0).decode("utf-8", "replace").strip()
        return text.splitlines()[-1] if text else "without a word"

    @property
    def alive(self) -> bool:
        """It can be asked for more."""
        return self._process.poll() is None

    def create(self, spec: dict[str, Any], descriptors: Sequence[int]) -> None:
        """Ask for a sandbox; it answers on the first descriptor."""
        self._send({"op": "create", "spec": spec}, descriptors)

    def sweep(self) -> None:
        """Have the trash emptied, without waiting for it."""
        self._send({"op": "sweep"})

    def ask(self, task: str, descriptors: Sequence[int] = (), **order: Any) -> int:
        """Have a forked child of the zygote do one task, as root of the id map, and wait for it."""
        return int(answered(self.begin(task, descriptors, **order), task))

    def begin(self, task: str, descriptors: Sequence[int] = (), **order: Any) -> int:
        """Like `ask`, without waiting; returns what `answered` takes."""
        answer, theirs = os.pipe()
        try:
            self._send({"op": task, **order}, (theirs, *descriptors))
        except BaseException:
            os.close(answer)
            raise
        finally:
            os.close(theirs)
        return answer

    def _send(self, message: dict[str, Any], descriptors: Sequence[int] = ()) -> None:
        try:
            with self._lock:
                wire.send(self._control, message, descriptors)
        except OSError as error:
            raise SandboxStartError(f"local backend: the zygote is gone: {error.strerror}") from error

    def close(self) -> None:
        """End it and everything it has forked."""
        with self._lock:
            self._end()


def _end(owner: int, control: socket.socket, process: subprocess.Popen[bytes], complaints: int) -> None:
    control.close()
    os.close(complaints)
    if os.getpid() == owner:
        process.wait()  # it is clearing away
    else:
        process.returncode = 0  # a forked copy of the harness: the zygote is the parent's


def answered(answer: int, task: str) -> Any:
    """What came of a task.

    Raises:
        SandboxStartError: nothing did; the message says why.
    """
    message = read_answer(answer)
    if "done" not in message:
        raise SandboxStartError(f"local backend: {task}: {message.get('error', 'the zygote died')}")
    return message["done"]


def read_answer(descriptor: int, *, gone: int | None = None, until: float = float("inf")) -> dict[str, Any]:
    """The one JSON object a forked child writes on its pipe; {} if it died, or `gone` became readable first.

    Closes the descriptor. What comes is hostile: it is short, and an object, or nothing.
    """
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    if gone is not None:
        poll.register(gone, select.POLLIN)
    text = b""
    try:
        while len(text) <= _LONGEST_ANSWER:
            left = min(until - time.monotonic(), 3600.0)
            ready = dict(poll.poll(max(0.0, left) * 1000 + 1))
            if descriptor in ready:
                chunk = os.read(descriptor, _LONGEST_ANSWER)
                if not chunk:
                    break
                text += chunk
            elif ready or time.monotonic() >= until:
                break
    finally:
        os.close(descriptor)
    try:
        message = json.loads(text[:_LONGEST_ANSWER])
    except (ValueError, RecursionError):
        return {}
    return message if isinstance(message, dict) else {}
