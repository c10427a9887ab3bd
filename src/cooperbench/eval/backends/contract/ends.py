"""The clauses on how sandboxes begin and end, and on what is left of them."""

from __future__ import annotations

import contextlib
import gc
import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from cooperbench.errors import SandboxLost, SandboxStartError, SandboxTimeout
from cooperbench.eval.backends.base import Sweeper
from cooperbench.eval.backends.contract.frame import (
    CheckFailed,
    Subject,
    clause,
    expect,
    expect_raises,
    says,
    sh,
)


@clause("lifetime")
def _lifetime(subject: Subject) -> None:
    """When a sandbox's `timeout` is over, the command in it ends with SandboxTimeout, and so does the next."""
    sandbox = subject.sandbox(timeout=2)
    expect_raises("a command running then", SandboxTimeout, lambda: sandbox.exec("sleep", "100"))
    expect_raises("a command after it", SandboxTimeout, lambda: sandbox.exec("true"))


@clause("terminate")
def _terminate(subject: Subject) -> None:
    """`terminate` is prompt, whatever runs inside and ignores, and calling it again is fine."""
    took = []
    for _ in range(2):  # the better of two: the machine may be busy
        sandbox = subject.sandbox()
        says(sandbox, "(trap '' TERM INT HUP; sleep 300) >/dev/null 2>&1 &")
        start = time.monotonic()
        sandbox.terminate()
        took.append(time.monotonic() - start)
        sandbox.terminate()
    if min(took) > subject.patience:
        raise CheckFailed(f"terminate: expected at most {subject.patience} s, saw {min(took):.1f} s")


@clause("after-terminate")
def _after_terminate(subject: Subject) -> None:
    """A command after `terminate` raises SandboxLost."""
    sandbox = subject.sandbox()
    sandbox.terminate()
    expect_raises("exec after terminate", SandboxLost, lambda: sandbox.exec("true"))


@clause("lost")
def _lost(subject: Subject) -> None:
    """A sandbox that dies while a command runs raises SandboxLost from it: no exit code is made up."""
    sandbox = subject.sandbox()
    seen: list[CheckFailed | None] = []

    def stay() -> None:
        try:
            expect_raises("the command in it", SandboxLost, lambda: sh(sandbox, "touch begun; sleep 300"))
            seen.append(None)
        except CheckFailed as failure:
            seen.append(failure)

    thread = threading.Thread(target=stay, daemon=True)
    thread.start()
    says(sandbox, "n=0; while [ ! -e begun ]; do n=$((n + 1)); [ $n -lt 30 ] || exit 1; sleep 1; done")
    if subject.kill is None:
        sandbox.terminate()
    else:
        subject.kill(sandbox)
    thread.join()
    if seen[0] is not None:
        raise seen[0]
    expect_raises("the next command", SandboxLost, lambda: sandbox.exec("true"))


@clause("start-error")
def _start_error(subject: Subject) -> None:
    """An image that does not exist is a SandboxStartError."""
    name = "cooperbench.invalid/no-such-image:ever"
    expect_raises("the sandbox", SandboxStartError, lambda: subject.sandbox(image=name))


@clause("nothing-left")
def _nothing_left(subject: Subject) -> None:
    """Sandboxes that are over leave no open file, thread or process in the harness, and nothing to sweep."""
    _use_up(subject)  # what a backend keeps for all its sandboxes is made with the first
    if isinstance(subject.backend, Sweeper):
        subject.backend.sweep()
    before = _holdings()
    for _ in range(4):
        _use_up(subject)
    until = time.monotonic() + subject.patience
    while True:
        after = _holdings()
        if all(has <= had for had, has in zip(before, after, strict=True)) or time.monotonic() > until:
            break
        time.sleep(0.1)
    for what, had, has in zip(("open files", "threads", "processes"), before, after, strict=True):
        if has > had:
            raise CheckFailed(f"{what} of the harness after 4 sandboxes: expected {had}, saw {has}")
    if isinstance(subject.backend, Sweeper):
        expect("what a sweep finds", subject.backend.sweep(), [])


def _use_up(subject: Subject) -> None:
    sandbox = subject.sandbox()
    says(sandbox, "echo x >file; sleep 300 >/dev/null 2>&1 &")
    sandbox.terminate()
    subject.made.remove(sandbox)


def _holdings() -> tuple[int, int, int]:
    """Open files, threads and descendants of this process."""
    gc.collect()
    parents = dict(_parents())
    ours = {os.getpid()}
    while more := {pid for pid, parent in parents.items() if parent in ours} - ours:
        ours |= more
    return len(os.listdir("/proc/self/fd")), threading.active_count(), len(ours)


def _parents() -> Iterator[tuple[int, int]]:
    for entry in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):  # it ended meanwhile
            yield (
                int(entry.parent.name),
                int(entry.read_text("utf-8", "replace").rpartition(")")[2].split()[1]),
            )
