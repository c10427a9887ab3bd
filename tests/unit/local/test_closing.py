"""Letting go of a backend while sandboxes are being made: it ends, whatever instant it is."""

from __future__ import annotations

import contextlib
import threading
import time

import pytest

from cooperbench.errors import BackendError
from cooperbench.eval.backends.local import LocalBackend


@pytest.mark.parametrize("pause", [0.0, 0.001, 0.002, 0.004, 0.006, 0.008, 0.012, 0.02])
def test_close_in_the_middle_of_creations(pause: float) -> None:
    backend = LocalBackend()
    backend.create_sandbox("host").terminate()
    go = threading.Barrier(7)

    def make() -> None:
        go.wait()
        for _ in range(4):
            with contextlib.suppress(BackendError):
                backend.create_sandbox("host")

    makers = [threading.Thread(target=make, daemon=True) for _ in range(6)]
    for maker in makers:
        maker.start()
    go.wait()
    time.sleep(pause)
    for _ in range(2):  # a creation that comes after the first makes an engine anew
        closer = threading.Thread(target=backend.close, daemon=True)
        closer.start()
        closer.join(60)
        assert not closer.is_alive(), "close() hangs"
    for maker in makers:
        maker.join(60)
        assert not maker.is_alive(), "a creation hangs"
    backend.close()
