"""The images of one invocation: each made ready once however many ask for it, and given up after the last of its work.

Without a disk budget all of them are made ready before any work begins. Within one, each comes when it is its turn,
and whoever brings the work in the order of its images has one used while it is there.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future
from functools import partial
from typing import Any

from cooperbench.dataset.model import Task
from cooperbench.errors import SandboxStartError
from cooperbench.eval.backends.base import Budgeted, EvalBackend, offers
from cooperbench.eval.judging import Judging, current_verdict, judge_trial
from cooperbench.eval.sources import ready_image
from cooperbench.events import Note, Progress
from cooperbench.pool import describe, pooled
from cooperbench.runs import TrialDirectory

_AT_ONCE = 4
"""Images made ready at the same time."""

OnReady = Callable[[str, str | None], None]
"""Called with an image and its digest, from the thread that made it ready."""


class Supply:
    """Images for work to come. Safe to use from any thread."""

    def __init__(
        self,
        backend: EvalBackend,
        work: Iterable[Task],
        tell: Progress,
        *,
        recorded: Mapping[str, str] | None = None,
        on_ready: OnReady | None = None,
        frozen: bool = False,
    ) -> None:
        """`work`: the task of each piece of it. `recorded`: digests images had when this work was last under way.

        `frozen`: an image that has another digest now is not used.
        """
        self._backend = backend
        self._tell = tell
        self._recorded = recorded or {}
        self._on_ready = on_ready
        self._frozen = frozen
        tasks = list(work)
        self._tasks = {task.image: task for task in tasks}
        self._left = Counter(task.image for task in tasks)
        self._ready: dict[str, Future[str | None]] = {}
        self._lock = threading.Lock()
        self.bounded = offers(backend, Budgeted) and backend.keep_within(None) > 0
        """Images are kept within a budget."""

    def ready_all(self) -> None:
        """Make every image ready, unless they are bounded: then each has its turn.

        Raises:
            SandboxStartError: not one can be made ready.
        """
        if self.bounded:
            return
        results = list(pooled(self._tasks.values(), partial(self.ready, quiet=True), _AT_ONCE))
        broken = {task.image: result for task, result in results if isinstance(result, Exception)}
        if not broken:
            return
        first = next(iter(broken.values()))
        if len(broken) == len(results) == 1 or not isinstance(first, SandboxStartError):
            raise first
        if len(broken) == len(results):
            raise SandboxStartError(
                f"none of {len(results)} images can be made ready; the first: {first}"
            ) from first
        self._tell(Note(_cannot(broken, len(results))))

    def ready(self, task: Task, *, quiet: bool = False) -> str | None:
        """Have a task's image ready; returns its digest, None if it has none.

        Args:
            quiet: whoever asks tells what went wrong, if it did.

        Raises:
            SandboxStartError: it can neither be found nor made, now or when it was first asked for.
        """
        with self._lock:
            known = self._ready.get(task.image)
            future = self._ready.setdefault(task.image, Future())
        if known is None:
            self._make_ready(task, future, quiet)
        try:
            return future.result()
        except SandboxStartError as problem:
            raise SandboxStartError(str(problem)) from problem

    def _make_ready(self, task: Task, future: Future[str | None], quiet: bool) -> None:
        begun = time.monotonic()
        try:
            digest = ready_image(self._backend, task)
            if self._frozen:
                self._refuse_another(task.image, digest)
            if self._on_ready is not None:
                self._on_ready(task.image, digest)
        except BaseException as problem:
            future.set_exception(problem)
            if isinstance(problem, Exception) and not quiet:
                self._tell(Note(_cannot({task.image: problem}, 1)))
            return
        future.set_result(digest)
        if (seconds := time.monotonic() - begun) > 1:
            self._tell(Note(f"image {task.image} made ready in {seconds:.1f} s"))

    def _refuse_another(self, image: str, digest: str | None) -> None:
        before = self._recorded.get(image)
        if before is not None and digest != before:
            raise SandboxStartError(
                f"image {image} is {digest or 'without a digest'} now; this run had {before}, and --frozen takes no "
                "other: bring that one back, or leave --frozen out"
            )

    def finished(self, task: Task) -> None:
        """A piece of a task's work is done with."""
        with self._lock:
            self._left[task.image] -= 1
            last = self._left[task.image] == 0
        if last and self.bounded and offers(self._backend, Budgeted):
            self._backend.release_image(task.image)

    def judge(
        self,
        task: Task,
        trial: TrialDirectory,
        judging: Judging,
        *,
        force: bool = False,
        backend: EvalBackend | None = None,
    ) -> tuple[dict[str, Any], bool]:
        """`judge_trial` with the image made ready. Within a budget no image is brought for a verdict that holds.

        Args:
            backend: what to judge on, if it is not the one that has the images.
        """
        before = self._recorded.get(task.image) if self.bounded else None
        if before is not None and not force:
            held = current_verdict(task, trial, judging, before)
            if held is not None:
                return held, True
        on = self._backend if backend is None else backend
        return judge_trial(on, task, trial, judging, force=force, image_digest=self.ready(task))


def _cannot(broken: Mapping[str, Exception], of: int) -> str:
    """One line, however many images it is about: each of their trials says why it ended in an error."""
    image, problem = next(iter(broken.items()))
    if len(broken) == 1:
        return f"image {image} cannot be made ready: {describe(problem)}"
    return f"{len(broken)} of {of} images cannot be made ready; the first: {image}: {describe(problem)}"
