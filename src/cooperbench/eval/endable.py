"""A backend for one judgement: its sandbox can be ended from outside, and is timed."""

from __future__ import annotations

import threading
import time

from cooperbench.errors import BackendError
from cooperbench.eval.backends import shell
from cooperbench.eval.backends.base import DEFAULT_WORKDIR, EvalBackend, Sandbox, SandboxSpec


class EndableBackend:
    """A backend for one judgement whose sandbox can be ended from outside, at any moment."""

    def __init__(self, backend: EvalBackend, name: str) -> None:
        self.name = name
        self._backend = backend
        self._sandbox: Sandbox | None = None
        self._begun: float | None = None
        self.ended = False
        """Whether `end` was called: what is lost then was not lost by accident."""
        self._lock = threading.Lock()

    def create(self, spec: SandboxSpec) -> Sandbox:
        """As the backend itself, until `end`."""
        if self.ended:
            raise BackendError("the run is being stopped")
        self._begun = self._begun or time.monotonic()
        sandbox = shell.create(self._backend, spec)
        with self._lock:
            self._sandbox = sandbox
            ended = self.ended
        if ended:
            shell.terminate(sandbox)
        return sandbox

    def create_sandbox(self, image: str, timeout: int = 600, workdir: str = DEFAULT_WORKDIR) -> Sandbox:
        """As `create`."""
        return self.create(SandboxSpec(image, timeout, workdir))

    @property
    def seconds(self) -> float:
        """For how long there has been a sandbox."""
        return 0.0 if self._begun is None else time.monotonic() - self._begun

    def end(self) -> None:
        """End the sandbox there is, and make no other."""
        with self._lock:
            self.ended = True
            sandbox = self._sandbox
        if sandbox is not None:
            shell.terminate(sandbox)
