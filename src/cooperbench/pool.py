"""Many small works at once, in threads, and the one place that catches any exception whatever.

Unlike those of the runner's crew, these threads are waited for when the interpreter ends: a judgement ends its sandbox.

What a work raises is its result here, because one broken trial must not end the other 651. Submission is lazy, so ten
thousand items cost no more memory than `concurrency` of them.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from typing import TypeVar

from cooperbench.errors import UsageError

desk = threading.Lock()
"""Held for what is only the interpreter's and the disk's to do, never while anything else is waited for.

A system call lets go of the interpreter. Of many threads that write small files, each has lost it to another at every
one of them, and waking each other costs more than the work does.
"""

T = TypeVar("T")
R = TypeVar("R")


def pooled(
    items: Iterable[T], work: Callable[[T], R], concurrency: int
) -> Generator[tuple[T, R | Exception], None, None]:
    """`work` on every item, at most `concurrency` at once; yields each item with its result as it comes.

    An exception of a work is yielded in the result's place. When the caller stops early (also by Ctrl-C), nothing new
    is started; works under way are left to end, which they do as soon as their sandboxes are terminated.

    Raises:
        UsageError: `concurrency` is below 1.
    """
    if concurrency < 1:
        raise UsageError(f"concurrency must be at least 1, not {concurrency}")
    executor = ThreadPoolExecutor(concurrency, thread_name_prefix="cooperbench")
    running: dict[Future[R | Exception], T] = {}
    source = iter(items)
    try:
        while True:
            while len(running) < concurrency * 2:
                try:
                    item = next(source)
                except StopIteration:
                    break
                running[executor.submit(caught, work, item)] = item
            if not running:
                return
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                yield running.pop(future), future.result()
    finally:
        executor.shutdown(wait=False, cancel_futures=True)


def caught(work: Callable[[T], R], item: T) -> R | Exception:
    """`work` on one item: its result, or what it raised."""
    try:
        return work(item)
    except Exception as error:
        return error


def describe(error: Exception) -> str:
    """An exception in one line, for a result file or a progress line."""
    from cooperbench.errors import CooperBenchError

    text = " ".join(str(error).split()) or type(error).__name__
    return text if isinstance(error, CooperBenchError) else f"{type(error).__name__}: {text}"
