"""Images on their way: each fetched once however many ask for it, and the next in order while the last is worked with.

Each comes in a thread of its own that keeps nobody from leaving, so whoever waits for one can be told to stop.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from functools import partial

from cooperbench.errors import SandboxStartError


class Fetching:
    """The images of one invocation. Safe to use from any thread.

    At most one image is ahead: fetched, or being fetched, before any work has asked for it.
    """

    def __init__(
        self,
        order: Iterable[str],
        fetch: Callable[[str], str | None],
        is_needed: Callable[[str], bool],
        has_room: Callable[[], bool],
    ) -> None:
        """
        Args:
            order: in which the work wants them.
            fetch: has one ready; returns its digest, None if it has none.
            is_needed: whether this one will be asked for.
            has_room: whether one may come now that nobody has asked for.
        """
        self._order = list(order)
        self._fetch = fetch
        self._is_needed = is_needed
        self._has_room = has_room
        self._coming: dict[str, Future[str | None]] = {}
        self._asked: set[str] = set()
        self._settled = 0
        self._stopped = False
        self._changed = threading.Condition()
        self._ahead = threading.Lock()
        """Held while it is found out what to fetch ahead: by one at a time."""
        self.hear: Callable[[], None] = lambda: None
        """Called after an image has come or failed, from the thread that was at it."""

    # ------------------------------------------------------------------------------------------ asking

    def begin(self, image: str) -> Future[str | None]:
        """Have it fetched, unless that was done before; no work asks for it yet."""
        with self._changed:
            future = self._coming.get(image)
            if future is None:
                future = self._coming[image] = Future()
                if self._stopped:
                    future.set_exception(_stopped())
                else:
                    carry = partial(self._carry, image, future)
                    threading.Thread(target=carry, name=f"image {image}", daemon=True).start()
            return future

    def ask(self, image: str) -> Future[str | None]:
        """Work asks for it: it comes now, if it has not come, and the next one after it."""
        with self._changed:
            self._asked.add(image)
            future = self.begin(image)
        self.go_ahead()
        return future

    def go_ahead(self) -> None:
        """Begin with the next in order that will be asked for, if none is ahead yet and there is room."""
        with self._ahead:
            image = self._next()
            if image is not None and self._has_room():
                self.begin(image)

    def _next(self) -> str | None:
        with self._changed:
            ahead = (image for image in self._coming if image not in self._asked and not self._failed(image))
            if self._stopped or any(ahead):
                return None
            left = (image for image in self._order if image not in self._coming)
            return next(filter(self._is_needed, left), None)

    def _failed(self, image: str) -> bool:
        future = self._coming[image]
        return future.done() and future.exception() is not None

    # ------------------------------------------------------------------------------------------ coming

    def _carry(self, image: str, future: Future[str | None]) -> None:
        digest: str | None = None
        problem: BaseException | None = None
        try:
            digest = self._fetch(image)
        except BaseException as error:
            problem = error
        with self._changed:
            if not future.done():  # `stop` may have been faster
                if problem is None:
                    future.set_result(digest)
                else:
                    future.set_exception(problem)
            self._settled += 1
            self._changed.notify_all()
        self.hear()
        self.go_ahead()

    def has_settled(self, image: str) -> bool:
        """It has come, or cannot be had: asking for it is not waiting."""
        with self._changed:
            future = self._coming.get(image)
            return future is not None and future.done()

    @property
    def settled(self) -> int:
        """How many have come or failed."""
        with self._changed:
            return self._settled

    def wait_for_more_than(self, settled: int) -> None:
        """Until more than so many have come or failed.

        Raises:
            SandboxStartError: it was stopped.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._stopped or self._settled > settled)
            if self._stopped:
                raise _stopped()

    def stop(self) -> None:
        """Fetch no more. Whoever waits for one gets an error; what is under way is left to itself."""
        with self._changed:
            self._stopped = True
            for future in self._coming.values():
                if not future.done():
                    future.set_exception(_stopped())
            self._changed.notify_all()

    @property
    def stopped(self) -> bool:
        """`stop` was called."""
        with self._changed:
            return self._stopped


def _stopped() -> SandboxStartError:
    return SandboxStartError("the work is being stopped: its image is not waited for")
