"""The three streams of a `docker` command, and the files it can see."""

from __future__ import annotations

import os
from pathlib import Path


class Streams:
    """What the command at the other end of the engine's socket has open."""

    def __init__(self, process: int, *descriptors: int) -> None:
        self._process = process
        self._stdin, self._stdout, self._stderr = descriptors

    def close(self) -> None:
        """Let go."""
        for descriptor in (self._stdin, self._stdout, self._stderr):
            os.close(descriptor)

    def read(self) -> bytes:
        """All of standard input."""
        with os.fdopen(os.dup(self._stdin), "rb") as file:
            return file.read()

    def out(self, content: bytes) -> None:
        """Say on standard output."""
        _write(self._stdout, content)

    def err(self, content: bytes) -> None:
        """Say on standard error."""
        _write(self._stderr, content)

    def path(self, name: str) -> Path:
        """A file as the command sees it: in its mount namespace, relative to its directory."""
        below = name.lstrip("/") if name.startswith("/") else None
        if below is None:
            return Path(f"/proc/{self._process}/cwd", name)
        return Path(f"/proc/{self._process}/root", below)


def _write(descriptor: int, content: bytes) -> None:
    view = memoryview(content)
    while view:
        view = view[os.write(descriptor, view) :]
