"""Ctrl-C, pressed by a thread of the process that is to feel it."""

from __future__ import annotations

import signal
import threading


def press_soon() -> None:
    """Press it in half a second: one that comes in the instant in which a thread goes to sleep does not wake it."""
    main = threading.main_thread().ident
    assert main is not None
    threading.Timer(0.5, signal.pthread_kill, (main, signal.SIGINT)).start()
