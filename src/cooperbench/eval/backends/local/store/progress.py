"""How far an image is, told now and then: bytes that have come, layers that are there."""

from __future__ import annotations

import logging
import threading
import time

from cooperbench.eval.backends.base import Listener

log = logging.getLogger(__name__)

_EVERY = 0.5
_LOG_EVERY = 5.0


class Progress:
    """One image's. Safe to use from any thread."""

    def __init__(self, what: str, listener: Listener) -> None:
        self._what = what
        self._listener = listener
        self._lock = threading.Lock()
        self._total = self._came = self._layers = self._there = 0
        self._told = self._logged = time.monotonic()

    def expect(self, layers: int, size: int) -> None:
        """So much is to come."""
        self._layers, self._total = layers, size

    def came(self, size: int) -> None:
        """So many bytes have come."""
        with self._lock:
            self._came += size
        self._tell()

    def layer(self) -> None:
        """One layer more is there."""
        with self._lock:
            self._there += 1
        self._tell()

    def waits(self, why: str | None) -> None:
        """Nothing comes for now, and why; None: it goes on."""
        self._listener(self._what, why or self._words())

    def over(self) -> None:
        """There is nothing more to tell."""
        self._listener(self._what, None)

    def _words(self) -> str:
        return f"{self._came / 1e6:.0f} of {self._total / 1e6:.0f} MB, {self._there} of {self._layers} layers"

    def _tell(self) -> None:
        now = time.monotonic()
        with self._lock:
            if now - self._told < _EVERY:
                return
            self._told = now
            words = self._words()
            logged = now - self._logged >= _LOG_EVERY
            if logged:
                self._logged = now
        self._listener(self._what, words)
        if logged:
            log.info("%s: %s", self._what, words)
