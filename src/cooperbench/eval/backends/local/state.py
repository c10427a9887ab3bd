"""The state directory: images, sandboxes' writable layers, and whose they are; cleans up after dead processes.

<state>/<ids>/          one for each id map: files made under another would have other owners
    images/  names/     what images there are (JSON), what they are called
    configs/            the images' own configurations, as their makers wrote them
    layers/<id>/        read-only directory trees in overlay format, written once, renamed into place
    sizes/<id>          bytes of a layer
    partial/            what has come so far of downloads
    run/<owner>/<n>/    the writable layer of a live sandbox, a layer in the making
    owners/<owner>      locked by the harness process that owns run/<owner>, for as long as it lives
    claims/             images and layers in use, each file locked by the process that uses them
    trash/              on its way out
    locks/              held for one image build, one layer, one change of what there is
    mnt/                empty: sandboxes mount on it, each in a mount namespace of its own
"""

from __future__ import annotations

import contextlib
import fcntl
import itertools
import json
import os
import secrets
import weakref
from collections.abc import Iterator
from pathlib import Path

from cooperbench.errors import SandboxStartError
from cooperbench.eval.backends.local.identity import Ids

_PARTS = ("images", "names", "configs", "sizes", "partial", "owners", "claims", "locks")


def default_directory() -> Path:
    """Where state lives when nobody says: an environment variable, root's system place, the user's own."""
    named = os.environ.get("COOPERBENCH_STATE_DIR")
    if named:
        return Path(named).absolute()
    if os.geteuid() == 0:
        return Path("/var/lib/cooperbench/local")
    home = os.environ.get("XDG_STATE_HOME") or os.path.expanduser("~/.local/state")
    return Path(home) / "cooperbench" / "local"


class State:
    """One harness process's hold on the part of the state directory for one id map."""

    def __init__(self, base: Path, ids: Ids) -> None:
        self.path = base / ids.directory
        self.owner = f"{os.getpid()}-{secrets.token_hex(4)}"
        self._serial = itertools.count(1)
        try:
            self._prepare(base, ids)
            with self._collecting():
                self._lock = _locked(self.path / "owners" / self.owner)
                os.write(self._lock, json.dumps({"pid": os.getpid()}).encode())
            self._release = weakref.finalize(
                self, _release, os.getpid(), self.path / "owners" / self.owner, self._lock
            )
        except OSError as error:
            raise SandboxStartError(
                f"local backend: cannot use state directory {self.path}: {error.strerror}; "
                "set COOPERBENCH_STATE_DIR to a writable place"
            ) from error

    def _prepare(self, base: Path, ids: Ids) -> None:
        base.mkdir(parents=True, exist_ok=True, mode=0o711)
        made = not self.path.exists()
        self.path.mkdir(exist_ok=True, mode=0o700)
        if made:
            os.chown(self.path, *ids.root)
        for name in _PARTS:
            (self.path / name).mkdir(exist_ok=True, mode=0o700)

    def close(self) -> None:
        """Let go; what is still under ``run/<owner>`` is anybody's to collect."""
        self._release()

    def unfinished(self) -> str:
        """A path of its own for a layer in the making, relative to `path`; collected when this process is gone."""
        return f"run/{self.owner}/layer-{next(self._serial)}"

    def upper(self, number: int) -> str:
        """Writable layer of this process's nth sandbox, relative to `path`."""
        return f"run/{self.owner}/{number}"

    def discard(self, upper: str) -> None:
        """Out of the way, at once; the zygote empties the trash when it has time."""
        with contextlib.suppress(FileNotFoundError):
            name = f"{upper.replace('/', '-')}-{self.owner}-{next(self._serial)}"
            os.rename(self.path / upper, self.path / "trash" / name)

    def collect(self) -> list[str]:
        """Move what dead harnesses left into the trash; one line for each."""
        lines = []
        with self._collecting():
            for owner in self._dead_owners():
                owner.unlink(missing_ok=True)
            alive = {path.name for path in (self.path / "owners").iterdir()}
            for left in sorted(set(os.listdir(self.path / "run")) - alive):
                count = len(os.listdir(self.path / "run" / left))
                self.discard(f"run/{left}")
                process = left.split("-")[0]
                lines.append(f"local: {count} sandbox directories of process {process}, which is gone")
        return lines

    def _dead_owners(self) -> Iterator[Path]:
        for owner in sorted((self.path / "owners").iterdir()):
            if owner.name == self.owner:
                continue
            with contextlib.suppress(BlockingIOError, FileNotFoundError):
                descriptor = _locked(owner, wait=False, create=False)
                os.close(descriptor)
                yield owner

    @contextlib.contextmanager
    def _collecting(self) -> Iterator[None]:
        """Nobody comes or is collected meanwhile."""
        with self.locked("owners"):
            yield

    @contextlib.contextmanager
    def locked(self, name: str) -> Iterator[None]:
        """Alone, among all processes and threads, with what goes by this name. Nothing of the lock is left after."""
        path = self.path / "locks" / name
        descriptor = _locked(path)
        try:
            yield
        finally:
            path.unlink(missing_ok=True)
            os.close(descriptor)

    @contextlib.contextmanager
    def unless_locked(self, name: str) -> Iterator[bool]:
        """Whether nobody holds this lock; if so it is held here meanwhile."""
        path = self.path / "locks" / name
        try:
            descriptor = _locked(path, wait=False)
        except BlockingIOError:
            yield False
            return
        try:
            yield True
        finally:
            path.unlink(missing_ok=True)
            os.close(descriptor)


def _release(owner: int, path: Path, lock: int) -> None:
    if os.getpid() == owner:  # or a forked copy of the process would take the parent's away
        path.unlink(missing_ok=True)
    os.close(lock)


def _locked(path: Path, *, wait: bool = True, create: bool = True) -> int:
    """A descriptor that holds the lock; of a file that is there, not one that was removed while we waited."""
    flags = os.O_RDWR | os.O_CLOEXEC | (os.O_CREAT if create else 0)
    while True:
        descriptor = os.open(path, flags, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
            if os.fstat(descriptor).st_nlink:
                return descriptor
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)
