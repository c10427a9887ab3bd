"""A backend for one judgement: its sandbox is timed, and can be ended from outside, alone or with all others."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator

from cooperbench.errors import BackendError
from cooperbench.eval.backends import shell
from cooperbench.eval.backends.base import DEFAULT_WORKDIR, EvalBackend, Sandbox, SandboxSpec
from cooperbench.events import Note, Progress

_PATIENCE = 15
"""Seconds the judgements under way are given to end when judging is being stopped."""


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


class UnderWay:
    """The judgements under way: they can all be ended, and waited for."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._backends: set[EndableBackend] = set()
        self._ended = False

    @contextlib.contextmanager
    def one(self, backend: EvalBackend, name: str) -> Iterator[EndableBackend]:
        """A backend for one judgement, for the ``with`` block; none begins after `none_left`."""
        endable = EndableBackend(backend, name)
        with self._changed:
            endable.ended = self._ended
            self._backends.add(endable)
        try:
            yield endable
        finally:
            with self._changed:
                self._backends.remove(endable)
                self._changed.notify_all()

    @contextlib.contextmanager
    def none_left(self, stop: Callable[[], None], tell: Progress, then: str) -> Iterator[None]:
        """However the ``with`` block ends, none is under way after it.

        Args:
            stop: called before they are ended: nobody is to wait for an image any more.
            then: what the same command does after Ctrl-C, as it is told.
        """
        try:
            yield
        except KeyboardInterrupt:
            tell(Note(f"stopping: ending the sandboxes; the same command {then}"))
            raise
        finally:
            stop()
            self._end()

    def _end(self) -> None:
        """End those under way and begin no other; returns when they are over, or patience is."""
        with self._changed:
            self._ended = True
            backends = list(self._backends)
        for backend in backends:
            backend.end()
        with self._changed:
            self._changed.wait_for(lambda: not self._backends, _PATIENCE)
