"""The client library's client, an event loop to talk to it on, and what its exceptions mean.

Every call to Modal is a coroutine on one loop in one thread: a command needs three calls at once, and a hundred
sandboxes must not need three hundred threads.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import threading
from collections.abc import Coroutine, Iterator
from concurrent.futures import CancelledError
from typing import Any, TypeVar

from cooperbench.errors import BackendError, UsageError
from cooperbench.eval.backends.doubt import short
from cooperbench.eval.backends.modal import credentials
from cooperbench.eval.backends.modal.config import Settings

R = TypeVar("R")

FORKED = (
    "the modal backend cannot be used in a forked copy of a process that has used it: "
    "start processes with multiprocessing's `spawn`"
)
"""The library's own thread does not come along, and its calls would never return."""


class Gone(BackendError):
    """Modal knows no such thing, or no longer."""


class Throttled(BackendError):
    """Too much has been asked at once."""


class Unsure(BackendError):
    """Modal could not be reached, or would not say: it may have been done, or not."""


class Connection:
    """One backend object's hold on Modal; not for a forked copy of the process."""

    def __init__(self, settings: Settings, client: Any) -> None:
        """`client`: the caller's own `modal.Client`; None: one of this object's own, from the usual credentials."""
        import modal

        self.pid = os.getpid()
        self.sdk: Any = modal
        self.settings = settings
        self.loop = asyncio.new_event_loop()
        self._lock = threading.Lock()
        self._closed = False
        self._thread = threading.Thread(target=self._serve, name="cooperbench modal", daemon=True)
        self._thread.start()
        self._own = client is None
        try:
            self.client = client if client is not None else self.call(self._open_client())
            with complaints("looking up the app"):
                self.app = self.call(self._look_up())
        except BaseException:
            self.close()
            raise

    def _serve(self) -> None:
        asyncio.set_event_loop(self.loop)
        self.loop.run_forever()

    async def _open_client(self) -> Any:
        """A client of our own wherever the library lets us: its shared one must outlive whoever closes this."""
        config = self.sdk.config.config
        token = config["token_id"], config["token_secret"]
        try:
            if all(token):
                return await self.sdk.Client.from_credentials.aio(*token)
            self._own = False
            return await self.sdk.Client.from_env.aio()
        except self.sdk.exception.Error as problem:
            raise UsageError(
                f"modal backend: {short(str(problem)).rstrip('.')}: {credentials.REMEDY}"
            ) from problem

    async def _look_up(self) -> Any:
        return await self.sdk.App.lookup.aio(
            self.settings.app_name,
            create_if_missing=True,
            client=self.client,
            environment_name=self.settings.environment or None,
        )

    def call(self, coroutine: Coroutine[Any, Any, R], patience: float | None = None) -> R:
        """What a coroutine comes to, from any thread but the loop's own.

        Raises:
            TimeoutError: `patience` seconds were not enough; it is cancelled.
        """
        if self.pid != os.getpid():
            coroutine.close()
            raise BackendError(FORKED)
        with self._lock:
            if self._closed:
                coroutine.close()
                raise BackendError("the modal backend was closed")
            future = asyncio.run_coroutine_threadsafe(coroutine, self.loop)
        try:
            return future.result(patience)
        except CancelledError as problem:  # another thread closed the backend
            raise Unsure("the modal backend was closed meanwhile") from problem
        except BaseException:
            future.cancel()
            raise

    def signal(self, event: asyncio.Event) -> None:
        """Set an event on the loop, from any thread."""
        with self._lock:
            if not self._closed:
                self.loop.call_soon_threadsafe(event.set)

    def close(self) -> None:
        """Let go of everything; what is under way is cancelled."""
        if self._own and getattr(self, "client", None) is not None:
            with contextlib.suppress(BackendError), complaints("closing the client"):
                self.call(self.client.close.aio(), 30)
        with self._lock:
            self._closed = True
        asyncio.run_coroutine_threadsafe(_cancel_all(), self.loop).result(30)
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join()
        self.loop.close()


async def _cancel_all() -> None:
    left = asyncio.all_tasks() - {asyncio.current_task()}
    for task in left:
        task.cancel()
    await asyncio.gather(*left, return_exceptions=True)


@contextlib.contextmanager
def complaints(what: str) -> Iterator[None]:
    """The library's exceptions, and those of what lies under it, as ours."""
    from grpclib.exceptions import GRPCError, StreamTerminatedError

    import modal

    errors = modal.exception
    try:
        yield
    except (errors.NotFoundError, errors.ConflictError, errors.ClientClosed) as problem:
        raise Gone(f"{what}: {short(str(problem))}") from problem
    except errors.AuthError as problem:
        raise BackendError(
            f"{what}: Modal does not accept the credentials ({short(str(problem))}): {credentials.REMEDY}"
        ) from problem
    except errors.ResourceExhaustedError as problem:
        raise Throttled(f"{what}: {short(str(problem))}") from problem
    except (
        errors.ServiceError,
        errors.InternalError,
        errors.ConnectionError,
        errors.TimeoutError,
    ) as problem:
        raise Unsure(f"{what}: Modal does not answer: {_said(problem)}") from problem
    except errors.Error as problem:
        raise BackendError(f"{what}: Modal refused: {_said(problem)}") from problem
    except (GRPCError, StreamTerminatedError, OSError, TimeoutError) as problem:
        raise Unsure(f"{what}: Modal does not answer: {_said(problem)}") from problem


def _said(problem: BaseException) -> str:
    return short(f"{type(problem).__name__}: {problem}")
