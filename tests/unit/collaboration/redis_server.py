"""A real redis-server with a password, on this machine, for as long as a test needs it."""

from __future__ import annotations

import contextlib
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator

import pytest
import redis

PASSWORD = "only-for-tests"


@contextlib.contextmanager
def serving() -> Iterator[str]:
    """The server's URL, password and all."""
    program = shutil.which("redis-server")
    if program is None:
        pytest.fail("needs redis-server: apt-get install redis-server")
    for _ in range(5):  # another program may take the port in between
        port = _free_port()
        process = subprocess.Popen(
            [program, "--port", str(port), "--bind", "127.0.0.1", "--requirepass", PASSWORD, "--save", ""],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd="/tmp",
        )
        url = f"redis://:{PASSWORD}@127.0.0.1:{port}/0"
        try:
            if _answers(url, process):
                yield url
                return
        finally:
            process.terminate()
            process.wait(30)
    pytest.fail("redis-server does not start")


def _answers(url: str, process: subprocess.Popen[bytes]) -> bool:
    deadline = time.monotonic() + 30
    with contextlib.closing(redis.Redis.from_url(url)) as client:
        while process.poll() is None and time.monotonic() < deadline:
            with contextlib.suppress(redis.ConnectionError):
                return bool(client.ping())
            time.sleep(0.02)
    return False


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
