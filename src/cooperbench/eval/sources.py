"""What judging needs before it starts: a backend, opened and let go of in one place, and a task's image, ready."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from cooperbench import settings
from cooperbench.dataset.model import Task
from cooperbench.eval import backends
from cooperbench.eval.backends import shell
from cooperbench.eval.backends.base import Closable, EvalBackend, Sized
from cooperbench.events import Note, Progress

MOST_JUDGEMENTS = 10
"""At once, where nobody says otherwise."""


@dataclass(frozen=True, slots=True)
class Chosen:
    """A backend, and why it is this one."""

    name: str
    reason: str
    backend: EvalBackend


@contextlib.contextmanager
def opened_backend(name: str | None, recorded: str | None = None) -> Iterator[Chosen]:
    """The backend asked for, or of the settings, or recorded, or the best this machine has; closed at the end.

    Raises:
        UsageError: no such backend.
    """
    choice, reason = backends.choose_backend(name, recorded)
    backend = backends.get_backend(choice)
    try:
        yield Chosen(choice, reason, backend)
    finally:
        if isinstance(backend, Closable):
            backend.close()


def judgements_at_once(asked: int | None, backend: EvalBackend) -> int:
    """How many judgements to run side by side: as asked, as settled in the settings, or what suits the backend."""
    if asked is not None:
        return asked
    fitting = backend.processors if isinstance(backend, Sized) else MOST_JUDGEMENTS
    return settings.load().number("eval_concurrency") or max(1, min(fitting, MOST_JUDGEMENTS))


def ready_image(backend: EvalBackend, task: Task) -> str | None:
    """Make a task's image ready and say its digest, if the backend knows such a thing.

    Raises:
        SandboxStartError: it can neither be found nor made.
    """
    return shell.prepare_image(backend, task.image, task.recipe)


def ready_images(backend: EvalBackend, tasks: Iterable[Task], tell: Progress) -> dict[str, str | None]:
    """Make every task's image ready before work asks for it; image reference → digest.

    Raises:
        SandboxStartError: one can neither be found nor made.
    """
    digests: dict[str, str | None] = {}
    for task in tasks:
        if task.image not in digests:
            begun = time.monotonic()
            digests[task.image] = ready_image(backend, task)
            if (seconds := time.monotonic() - begun) > 1:
                tell(Note(f"image {task.image} made ready in {seconds:.1f} s"))
    return digests
