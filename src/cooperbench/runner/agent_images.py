"""Images for agents whose program must be inside: a task's image with one more layer, made once.

Only agents work in them. The judge's sandbox is made from the task's image, as ever.
"""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

from cooperbench.errors import SandboxStartError
from cooperbench.eval.backends import shell
from cooperbench.eval.backends.base import EvalBackend, ImageBackend
from cooperbench.events import Note, Progress


class AgentImages:
    """Which image the agents of a task work in. Safe to use from any thread."""

    def __init__(self, backend: EvalBackend, agent: object, config: Path | None, tell: Progress) -> None:
        """Backends that cannot make images have what their images have: the agent will say what is missing."""
        self._backend = backend
        self._layer: Any = getattr(agent, "image_layer", None) if isinstance(backend, ImageBackend) else None
        self._config = config
        self._tell = tell
        self._made: dict[str, str | SandboxStartError] = {}
        # One at a time: a layer of several hundred megabytes passes through memory while it is made.
        self._lock = threading.Lock()

    def fetch(self) -> None:
        """Have the program at hand before any work begins.

        Raises:
            UsageError: it cannot be had.
        """
        if self._layer is not None:
            self._layer("", self._config)

    def ready(self, image: str) -> str:
        """The image to work in; `image` itself, which must be ready, where nothing need be added.

        Raises:
            SandboxStartError: it cannot be made, now or when it was first asked for.
        """
        if self._layer is None:
            return image
        with self._lock:
            if image not in self._made:
                self._made[image] = self._make(image)
            made = self._made[image]
        if isinstance(made, SandboxStartError):
            raise SandboxStartError(str(made)) from made
        return made

    def _make(self, image: str) -> str | SandboxStartError:
        wanted = self._layer(image, self._config)
        if wanted is None:
            return image
        name, recipe = wanted
        try:
            shell.prepare_image(self._backend, name, recipe)
        except SandboxStartError as problem:
            self._tell(Note(f"the agent's program cannot be put into image {image}: {problem}"))
            return problem
        return str(name)
