"""What is in use: a small file for each user, locked for as long as it lives, naming an image or layers to come.

The kernel drops the lock when the process dies, however it dies, so a claim never outlives its claimant. Whoever
removes images looks at the claims while holding `STORE`, under which claims are also made.
"""

from __future__ import annotations

import contextlib
import fcntl
import itertools
import json
import os
import threading
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from cooperbench import atomic
from cooperbench.eval.backends.local.state import State

STORE = "store"
"""The lock for every change of what there is."""


@dataclass(frozen=True, slots=True)
class _Claim:
    path: Path
    descriptor: int

    def close(self) -> None:
        self.path.unlink(missing_ok=True)
        os.close(self.descriptor)


class Claims:
    """The claims of one process, and a view of everybody's."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._lock = threading.Lock()
        self._serial = itertools.count(1)
        self._used: dict[str, tuple[_Claim, int]] = {}
        """Image → its claim, and how many use it."""

    # ------------------------------------------------------------------------------------------ making claims

    def use(self, digest: str) -> None:
        """This process uses an image, until as many calls of `release`."""
        with self._lock:
            if digest in self._used:
                claim, count = self._used[digest]
                self._used[digest] = claim, count + 1
            else:
                self._used[digest] = self._claim({"image": digest}), 1

    def release(self, digest: str) -> None:
        """One of its uses has ended."""
        with self._lock:
            claim, count = self._used.pop(digest, (None, 0))
            if claim is None:  # everything was let go of meanwhile
                return
            if count > 1:
                self._used[digest] = claim, count - 1
            else:
                claim.close()

    @contextlib.contextmanager
    def using(self, digest: str) -> Iterator[None]:
        """This process uses an image, which need not be there yet."""
        self.use(digest)
        try:
            yield
        finally:
            self.release(digest)

    @contextlib.contextmanager
    def wanted(self, layers: Iterable[str]) -> Iterator[None]:
        """These layers are about to be part of an image: they stay, and none that is made now is taken for waste."""
        claim = self._claim({"layers": sorted(layers)})
        try:
            yield
        finally:
            claim.close()

    def _claim(self, content: dict[str, object]) -> _Claim:
        path = self._state.path / "claims" / f"{self._state.owner}-{next(self._serial)}"
        with self._state.locked(STORE):
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.write(descriptor, json.dumps(content).encode())
        return _Claim(path, descriptor)

    def close(self) -> None:
        """Let go of everything."""
        with self._lock:
            for claim, _ in self._used.values():
                claim.close()
            self._used.clear()

    # ------------------------------------------------------------------------------------------ everybody's

    def live(self) -> tuple[set[str], set[str]]:
        """Images and layers that somebody uses; call it while holding `STORE`. Claims of the dead are removed."""
        images: set[str] = set()
        layers: set[str] = set()
        for path in sorted((self._state.path / "claims").iterdir()):
            if _abandoned(path):
                path.unlink(missing_ok=True)
                continue
            claim = atomic.read_json(path)
            if isinstance(claim, dict):
                images |= {str(claim["image"])} if "image" in claim else set()
                layers |= {str(layer) for layer in claim.get("layers", ())}
        return images, layers


def _abandoned(path: Path) -> bool:
    with contextlib.suppress(FileNotFoundError):
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        finally:
            os.close(descriptor)
    return True
