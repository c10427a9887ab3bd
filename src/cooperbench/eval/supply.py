"""The images of one invocation: each made ready once however many ask for it, and given up after the last of its work.

Where a backend fetches them onto a disk, only the first is there before any work begins; the next comes while that is
worked with, and whoever brings the work in the order of its images has one used while it is there. Where they are made
elsewhere, all of them are made before any work begins.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections import Counter
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from typing import Any, TypeVar

from cooperbench.dataset.model import Task
from cooperbench.errors import SandboxStartError
from cooperbench.eval.backends.base import Budgeted, EvalBackend, Foreseeing, offers
from cooperbench.eval.fetching import Fetching
from cooperbench.eval.judging import Judging, current_verdict, judge_trial
from cooperbench.eval.sources import ready_image, unused_recipes
from cooperbench.events import Note, Progress
from cooperbench.pool import caught, describe, pooled
from cooperbench.runs import TrialDirectory

T = TypeVar("T")
R = TypeVar("R")

_AT_ONCE = 8
"""Images made ready at the same time, before any work begins."""


class Supply:
    """Images for work to come. Safe to use from any thread; after its ``with`` block nothing more is fetched."""

    def __init__(
        self,
        backend: EvalBackend,
        work: Iterable[Task],
        tell: Progress,
        *,
        sure: Iterable[Task] | None = None,
        recorded: Mapping[str, str] | None = None,
        on_ready: Callable[[str, str | None], None] | None = None,
        frozen: bool = False,
    ) -> None:
        """
        Args:
            work: the task of each piece of it, in the order in which it will be done.
            sure: those of pieces that need their image for certain; None: all. Within a budget only their images are
                fetched before work asks for them.
            recorded: digests images had when this work was last under way.
            on_ready: called with an image and its digest, from the thread that made it ready; not after `stop`.
            frozen: an image that has another digest now is not used.
        """
        self._backend = backend
        self._tell = tell
        self._recorded = recorded or {}
        self._on_ready = on_ready
        self._frozen = frozen
        tasks = list(work)
        self._tasks = {task.image: task for task in tasks}
        self._left = Counter(task.image for task in tasks)
        self._sure = {task.image for task in (tasks if sure is None else sure)}
        self._gathers = False
        """Whoever makes images ready decides what is next, and tells what went wrong."""
        self._lock = threading.Lock()
        self._recording = threading.Lock()
        self._fetching = Fetching(self._tasks, self._fetch, self._surely, self._has_room)
        self.bounded = offers(backend, Budgeted) and backend.keep_within(None) > 0
        """Images are kept within a budget."""

    def __enter__(self) -> Supply:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        """Fetch nothing more; whoever waits for an image gets an error."""
        self._fetching.stop()
        with self._recording:
            pass  # what is being recorded now is the last

    # ------------------------------------------------------------------------------------------ beforehand

    def ready_first(self) -> None:
        """Make ready what has to be before any work begins: the first image that can be had, or all where they are
        not fetched onto a disk. Within a budget nothing that may not be needed.

        Raises:
            SandboxStartError: not one can be made ready.
        """
        if not offers(self._backend, Budgeted):
            self.ready_all()
            return
        broken: dict[str, Exception] = {}
        with self._gathering():
            for image in self._tasks:
                if not self._surely(image) or (problem := self._outcome(image)) is None:
                    break
                broken[image] = problem
        self._complain(broken)

    def ready_all(self) -> None:
        """Make every image ready.

        Raises:
            SandboxStartError: not one can be.
        """
        if (line := unused_recipes(self._backend, self._tasks.values())) is not None:
            self._tell(Note(line))
        with self._gathering():
            outcomes = dict(pooled(self._tasks, self._outcome, _AT_ONCE))
        self._complain({image: problem for image, problem in outcomes.items() if problem is not None})

    @contextlib.contextmanager
    def _gathering(self) -> Iterator[None]:
        self._gathers = True
        try:
            yield
        finally:
            self._gathers = False

    def _outcome(self, image: str) -> Exception | None:
        problem = self._fetching.begin(image).exception()
        if problem is not None and not isinstance(problem, Exception):
            raise problem
        return problem

    def _complain(self, broken: Mapping[str, Exception]) -> None:
        if not broken:
            return
        of = len(self._tasks)
        first = next(iter(broken.values()))
        if len(broken) == of == 1 or not isinstance(first, SandboxStartError):
            raise first
        if len(broken) == of:
            raise SandboxStartError(f"none of {of} images can be made ready; the first: {first}") from first
        self._tell(Note(_cannot(broken, of)))

    # ------------------------------------------------------------------------------------------ in its turn

    def ready(self, task: Task) -> str | None:
        """Have a task's image ready; returns its digest, None if it has none.

        Raises:
            SandboxStartError: it can neither be found nor made, now or when it was first asked for; or nobody is to
                wait for it any more.
        """
        try:
            return self._fetching.ask(task.image).result()
        except SandboxStartError as problem:
            raise SandboxStartError(str(problem)) from problem

    def choose(self, tasks: Iterable[Task], *, verdicts: bool = False) -> int | None:
        """Which piece of work, by its task, to begin with: the first whose image need not be waited for.

        If there is none, the first's image is asked for; `hear` says when to choose again.

        Args:
            verdicts: within a budget it may turn out that the work needs no image.
        """
        first: str | None = None
        for place, task in enumerate(tasks):
            if (verdicts and self._may_hold(task)) or self._fetching.has_settled(task.image):
                return place
            first = first or task.image
        if first is not None:
            self._fetching.ask(first)
        return None

    def hear(self, listener: Callable[[], None]) -> None:
        """Call this whenever an image has come or failed, from whichever thread was at it."""
        self._fetching.hear = listener

    def work_off(
        self,
        work: Iterable[tuple[Task, T]],
        do: Callable[[Task, T], R],
        concurrency: int,
        *,
        verdicts: bool = False,
    ) -> Generator[tuple[T, R | Exception], None, None]:
        """`pooled`, but nothing waits for an image while there is something whose image is there.

        Args:
            verdicts: see `choose`.
        """
        left = list(work)
        taking = threading.Lock()

        def take() -> tuple[Task, T]:
            while True:
                settled = self._fetching.settled
                with taking:
                    place = self.choose((task for task, _ in left), verdicts=verdicts)
                    if place is not None:
                        return left.pop(place)
                self._fetching.wait_for_more_than(settled)

        def one(_: int) -> tuple[T, R | Exception]:
            task, item = take()
            return item, caught(lambda it: do(task, it), item)

        with contextlib.closing(pooled(range(len(left)), one, concurrency)) as results:
            for _, result in results:
                if isinstance(result, Exception):
                    raise result
                yield result

    def finished(self, task: Task) -> None:
        """A piece of a task's work is done with."""
        with self._lock:
            self._left[task.image] -= 1
        self._let_go(task.image)
        if self.bounded:
            self._fetching.go_ahead()

    def _let_go(self, image: str) -> None:
        """Of an image no work is left for."""
        with self._lock:
            last = self._left[image] <= 0
        if last and self.bounded and offers(self._backend, Budgeted):
            self._backend.release_image(image)

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
        if self._may_hold(task) and not force:
            held = current_verdict(task, trial, judging, self._recorded[task.image])
            if held is not None:
                return held, True
        on = self._backend if backend is None else backend
        return judge_trial(on, task, trial, judging, force=force, image_digest=self.ready(task))

    def _may_hold(self, task: Task) -> bool:
        return self.bounded and task.image in self._recorded

    # ------------------------------------------------------------------------------------------ one image

    def _surely(self, image: str) -> bool:
        """Work is left that needs it, and not only perhaps."""
        with self._lock:
            return self._left[image] > 0 and (not self.bounded or image in self._sure)

    def _has_room(self) -> bool:
        if self._gathers:
            return False
        return not self.bounded or (offers(self._backend, Foreseeing) and self._backend.fits_another())

    def _fetch(self, image: str) -> str | None:
        begun = time.monotonic()
        try:
            digest = ready_image(self._backend, self._tasks[image])
            if self._frozen:
                self._refuse_another(image, digest)
            self._record(image, digest)
        except Exception as problem:
            if not self._gathers and not self._fetching.stopped:
                self._tell(Note(_cannot({image: problem}, 1)))
            raise
        if (seconds := time.monotonic() - begun) > 1 and not self._fetching.stopped:
            self._tell(Note(f"image {image} made ready in {seconds:.1f} s"))
        self._let_go(image)  # its work may have been done without it meanwhile
        return digest

    def _record(self, image: str, digest: str | None) -> None:
        with self._recording:  # never after `stop`: the run may be another process's then
            if self._on_ready is not None and not self._fetching.stopped:
                self._on_ready(image, digest)

    def _refuse_another(self, image: str, digest: str | None) -> None:
        before = self._recorded.get(image)
        if before is not None and digest != before:
            raise SandboxStartError(
                f"image {image} is {digest or 'without a digest'} now; this run had {before}, and --frozen takes no "
                "other: bring that one back, or leave --frozen out"
            )


def _cannot(broken: Mapping[str, Exception], of: int) -> str:
    """One line, however many images it is about: each of their trials says why it ended in an error."""
    image, problem = next(iter(broken.items()))
    if len(broken) == 1:
        return f"image {image} cannot be made ready: {describe(problem)}"
    return f"{len(broken)} of {of} images cannot be made ready; the first: {image}: {describe(problem)}"
