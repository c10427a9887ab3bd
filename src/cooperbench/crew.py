"""Threads that do one thing after another and never keep the process alive.

Not `concurrent.futures.ThreadPoolExecutor`: the interpreter waits for its threads at exit, and an agent framework
that hangs in a call of its own must not keep anybody from leaving.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from queue import Empty, SimpleQueue
from typing import Any, TypeVar

R = TypeVar("R")

_IDLE = 5.0
"""Seconds a thread waits for something to do before it ends."""


class Crew:
    """As many threads as there is work at the same time; an idle one is used again."""

    def __init__(self) -> None:
        self._work: SimpleQueue[tuple[Future[Any], Callable[[], Any]]] = SimpleQueue()
        self._idle = 0
        self._lock = threading.Lock()

    def submit(self, function: Callable[[], R]) -> Future[R]:
        """Call `function` in a thread; what it returns or raises is in the future, whatever it is."""
        future: Future[R] = Future()
        with self._lock:
            self._work.put((future, function))
            if self._idle > 0:
                self._idle -= 1
                return future
        threading.Thread(target=self._serve, name="cooperbench", daemon=True).start()
        return future

    def _serve(self) -> None:
        while True:
            try:
                future, function = self._work.get(timeout=_IDLE)
            except Empty:
                if self._leave():
                    return
                continue
            try:
                result = function()
            except BaseException as error:
                future.set_exception(error)
            else:
                future.set_result(result)
            del future, function  # an idle thread must not hold on to a trial
            with self._lock:
                self._idle += 1

    def _leave(self) -> bool:
        """Whether this thread may end: not when work has been counted on it."""
        with self._lock:
            if self._idle == 0:
                return False
            self._idle -= 1
            return True
