"""What judging needs before it starts: a backend, opened and let go of in one place, and a task's image, ready."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from cooperbench import settings
from cooperbench.dataset.model import Task
from cooperbench.errors import UsageError
from cooperbench.eval import backends
from cooperbench.eval.backends import shell
from cooperbench.eval.backends.base import (
    Budgeted,
    Closable,
    EvalBackend,
    ImageBackend,
    Roomy,
    Sized,
    Telling,
    offers,
)
from cooperbench.events import Event, Progress, Waiting

MOST_JUDGEMENTS = 10
MOST_TRIALS = 20
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


def keep_images_within(chosen: Chosen, size: int | None) -> None:
    """Have the backend keep its images within so many bytes; None: as its own settings say.

    Raises:
        UsageError: it has no images to keep.
    """
    if size is None:
        return
    if type(size) is not int or size < 0:
        raise UsageError(f"disk_budget is a number of bytes, 0 for no bound, not {size!r}")
    if not offers(chosen.backend, Budgeted):
        raise UsageError(f"backend {chosen.name} keeps no images on a disk: leave out the disk budget")
    chosen.backend.keep_within(size)


def one_at_a_time(progress: Progress | None) -> Progress:
    """A listener that any thread may call, out of one that hears one event at a time; of none, one that is deaf."""
    if progress is None:
        return lambda _: None
    lock = threading.Lock()

    def tell(event: Event) -> None:
        with lock:
            progress(event)

    return tell


def hear(backend: EvalBackend, tell: Progress) -> None:
    """Pass on what the backend has to tell while it is waited for."""
    if offers(backend, Telling):
        backend.tell_by(lambda what, how_far: tell(Waiting(what, how_far)))


def trials_at_once(asked: int | None, backend: EvalBackend, agents: int) -> tuple[int, str]:
    """How many trials of so many agents to run side by side, and the reckoning if it was the backend's.

    As asked, as settled in the settings, or what the backend's machine has room for.
    """
    number = asked if asked is not None else settings.load().number("concurrency")
    if number is not None:
        return number, ""
    if not offers(backend, Roomy):
        return MOST_TRIALS, ""
    room, reckoning = backend.room()
    return max(1, min(MOST_TRIALS, room // agents)), reckoning


def judgements_at_once(asked: int | None, backend: EvalBackend, most: int = MOST_JUDGEMENTS) -> int:
    """How many judgements to run side by side: as asked, as settled in the settings, or what suits the backend, but at
    most `most`.

    Raises:
        UsageError: what was asked for is no number of judgements.
    """
    if asked is not None:
        if type(asked) is not int or asked < 1:
            raise UsageError(f"concurrency must be a whole number above 0, not {asked!r}")
        return asked
    fitting = backend.processors if isinstance(backend, Sized) else most
    return settings.load().number("eval_concurrency") or max(1, min(fitting, most))


def ready_image(backend: EvalBackend, task: Task) -> str | None:
    """Make a task's image ready and say its digest, if the backend knows such a thing.

    Raises:
        SandboxStartError: it can neither be found nor made.
    """
    return shell.prepare_image(backend, task.image, task.recipe)


def unused_recipes(backend: EvalBackend, tasks: Iterable[Task]) -> str | None:
    """One line for people where tasks say how their images are made and the backend makes none; else None."""
    if offers(backend, ImageBackend):
        return None
    images = [task.image for task in tasks if task.recipe is not None]
    if not images:
        return None
    more = f" and {len(images) - 1} more" if len(images) > 1 else ""
    name = getattr(backend, "name", type(backend).__name__)
    return f"backend {name} makes no images: it must have {images[0]}{more}; their recipe is not used"
