"""Ctrl-C, for work that wants to end in good order: the first ones are requests, the next is what it always was.
Other signals that ask a program to end can be taken for it."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator
from typing import Any


@contextlib.contextmanager
def first_ctrl_c(request: Callable[[], None], times: int = 1) -> Iterator[None]:
    """The first Ctrl-C, or so many `times`, calls `request`; the next one raises.

    Elsewhere than in the main thread this does nothing.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.getsignal(signal.SIGINT)
    left = times

    def handler(number: int, frame: Any) -> None:
        nonlocal left
        del number, frame
        left -= 1
        if left == 0:
            signal.signal(signal.SIGINT, signal.default_int_handler)
        request()

    signal.signal(signal.SIGINT, handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


@contextlib.contextmanager
def all_as_ctrl_c() -> Iterator[None]:
    """SIGTERM and SIGHUP do what Ctrl-C does at that moment, unless they are ignored or somebody else's already.

    Elsewhere than in the main thread this does nothing.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    ours = [number for number in _ENDING if signal.getsignal(number) is signal.SIG_DFL]
    for number in ours:
        signal.signal(number, _as_ctrl_c)
    try:
        yield
    finally:
        for number in ours:
            signal.signal(number, signal.SIG_DFL)


_ENDING = (signal.SIGTERM, signal.SIGHUP)


def _as_ctrl_c(number: int, frame: Any) -> None:
    handler = signal.getsignal(signal.SIGINT)
    if not callable(handler):  # it is ignored, as in a script's background: this signal is not
        raise KeyboardInterrupt
    handler(number, frame)
