"""What a backend answers or raises, held to the protocols before anything else of ours sees it.

A backend may be anybody's. An answer that makes no sense, or an exception that is not of our tree, leaves
here as a `BackendError` of one line: never a traceback, and never a verdict about the patches under judgement.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from cooperbench.errors import BackendError, CooperBenchError
from cooperbench.eval.backends.base import Completed


@contextlib.contextmanager
def guarded(what: str, error: type[BackendError] = BackendError) -> Iterator[None]:
    """Whatever the backend raises while doing `what` becomes an `error`, unless it is of our tree already."""
    try:
        yield
    except CooperBenchError:
        raise
    except Exception as problem:  # a user's backend may raise anything
        raise error(f"{what} failed in the backend: {line(problem)}") from problem


def completed(result: object) -> Completed:
    """`result` as a value of our own, its text as bytes again.

    Raises:
        BackendError: it is not an `ExecResult`.
    """
    if isinstance(result, Completed):
        return result
    returncode = getattr(result, "returncode", None)
    if not isinstance(returncode, int) or isinstance(returncode, bool) or returncode < 0:
        raise BackendError(f"the backend gave {returncode!r} as an exit code, which is a number from 0 on")
    return Completed(returncode, _stream(result, "stdout_read"), _stream(result, "stderr_read"))


def _stream(result: object, method: str) -> bytes:
    read = getattr(result, method, None)
    text = read() if callable(read) else None
    if not isinstance(text, str):
        raise BackendError(f"the backend gave a {kind(result)} whose {method}() does not return text")
    return text.encode("utf-8", "replace")


def line(problem: BaseException) -> str:
    """An exception in one line."""
    return short(f"{type(problem).__name__}: {problem}")


def short(text: str) -> str:
    """Any text in one line of bounded length."""
    words = " ".join(text.split())
    return words if len(words) <= 300 else f"{words[:300]}…"


def kind(thing: object) -> str:
    """What something is, for a message that says what was given instead of what was asked for."""
    return f"{type(thing).__module__}.{type(thing).__qualname__}"
