"""The backend's door: settings in, sandboxes and images out; everything else is behind it."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Iterable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from cooperbench.errors import BackendError, CooperBenchError, MissingExtra, SandboxStartError, UsageError
from cooperbench.eval.backends.base import DEFAULT_WORKDIR, Listener, Price, Recipe, SandboxSpec
from cooperbench.eval.backends.modal import credentials, prices, probe, sweep
from cooperbench.eval.backends.modal.config import settings
from cooperbench.eval.backends.modal.connection import FORKED, Connection
from cooperbench.eval.backends.modal.creating import Maker, asked
from cooperbench.eval.backends.modal.images import Images
from cooperbench.eval.backends.modal.limiter import Limiter
from cooperbench.eval.backends.modal.recipes import Recipes
from cooperbench.eval.backends.modal.sandbox import ModalSandbox

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Opened:
    """What there is once Modal has been talked to."""

    connection: Connection
    images: Images
    maker: Maker
    recipes: Recipes


class ModalBackend:
    """Sandboxes in Modal's cloud.

    It is made with the settings that `config.Settings` lists, by name, and `client`: a `modal.Client` of the caller's,
    instead of one made from the usual credentials (`MODAL_TOKEN_ID` and `MODAL_TOKEN_SECRET`, or what `modal token new`
    has written). Modal is not talked to before the first sandbox or image is asked for. Safe to use from any thread;
    not in a forked copy of a process that has used it, which is refused.
    """

    name = "modal"
    """As a verdict names it."""

    def __init__(self, *, client: Any = None, **given: Any) -> None:
        """
        Raises:
            UsageError: a setting that is none, or no credentials. MissingExtra: the client library is not installed.
        """
        if find_spec("modal") is None:
            raise MissingExtra("backend 'modal'", "modal")
        self._settings = settings(given)
        if client is None and credentials.found() is None:
            raise UsageError(f"backend 'modal' needs an account's credentials: {credentials.REMEDY}")
        self._client = client
        self._lock = threading.Lock()
        self._opened: _Opened | None = None
        self._listener: Listener | None = None

    def create_sandbox(self, image: str, timeout: int = 600, workdir: str = DEFAULT_WORKDIR) -> ModalSandbox:
        """See `base.EvalBackend`."""
        return self.create(SandboxSpec(image, timeout, workdir))

    def create(self, spec: SandboxSpec) -> ModalSandbox:
        """See `base.SpecBackend`."""
        asked(spec, self._settings)  # what cannot be granted is refused before an image is built for it
        opened = self._open()
        return opened.maker.make(spec, opened.images.ready(spec.image))

    def prepare_image(self, image: str, recipe: Recipe | None) -> str | None:
        """See `base.ImageBackend`. Of an image from a registry Modal does not tell the digest."""
        opened = self._open()
        if recipe is not None:
            return opened.recipes.prepare(image, recipe)
        opened.images.ready(image)
        digest = image.partition("@")[2]
        return digest or None

    def price(self) -> Price:
        """See `base.PricedBackend`."""
        return prices.price(self._settings)

    def sweep(self) -> list[str]:
        """See `base.Sweeper`; what this object itself could not end before is tried again too."""
        opened = self._open()
        lines = _end_again([each for each in opened.maker.living() if each.orphaned])
        return [*lines, *opened.connection.call(sweep.sweep(opened.connection))]

    def tell_by(self, listener: Listener) -> None:
        """See `base.Telling`. Where nobody listens a wait is a warning in the log."""
        self._listener = listener

    def close(self) -> None:
        """See `base.Closable`."""
        with self._lock:
            opened, self._opened = self._opened, None
        if opened is None or opened.connection.pid != os.getpid():
            return
        for sandbox in opened.maker.living():
            try:
                sandbox.terminate()
            except BackendError as problem:
                log.warning("%s; its lifetime will end it", problem)
        opened.connection.close()

    def diagnose(self) -> list[tuple[bool, str]]:
        """See `base.Diagnosable`."""
        try:
            return probe.diagnose(self._open().connection)
        except CooperBenchError as problem:
            return [(False, str(problem))]

    def _tell(self, what: str, how_far: str | None) -> None:
        if self._listener is not None:
            self._listener(what, how_far)
        elif how_far is not None:
            log.warning("%s: %s", what, how_far)

    def _open(self) -> _Opened:
        with self._lock:
            if self._opened is None:
                connection = Connection(self._settings, self._client)
                images, memory = Images(connection), _memory()
                limiter = Limiter(memory / "creations", self._settings.creates_per_second)
                maker = Maker(connection, limiter, self._tell)
                self._opened = _Opened(connection, images, maker, Recipes(connection, images, maker, memory))
            elif self._opened.connection.pid != os.getpid():
                raise SandboxStartError(FORKED)
            return self._opened


def _end_again(sandboxes: Iterable[ModalSandbox]) -> list[str]:
    """End what could not be ended; one line for each that can be now."""
    lines = []
    for sandbox in sandboxes:
        try:
            sandbox.terminate()
            lines.append(f"modal: sandbox {sandbox.id}, which could not be ended before")
        except BackendError as problem:
            log.warning("%s", problem)
    return lines


def _memory() -> Path:
    """Where this user's processes share what they know of Modal.

    Raises:
        UsageError: nothing says where this user's files are.
    """
    from platformdirs import user_state_path

    try:
        return user_state_path("cooperbench", appauthor=False) / "modal"
    except RuntimeError as problem:  # an id without an account, as in many containers
        raise UsageError("this user has no home directory: set HOME or XDG_STATE_HOME") from problem
