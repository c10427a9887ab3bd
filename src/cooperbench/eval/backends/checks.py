"""The sandbox contract, ready to run: on our backends by pytest, on anybody's by `cooperbench doctor BACKEND`.

The clauses themselves are in `contract/`. Here they are given names, deadlines and outcomes, and a place for the
gaps a backend is known to have: each with its reason, and reported when it has been closed.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Literal

from cooperbench.errors import UsageError
from cooperbench.eval.backends.base import EvalBackend
from cooperbench.eval.backends.contract import (
    CLAUSES,
    CheckFailed,
    CheckSkipped,
    Clause,
    ConfiguredImage,
    Subject,
)
from cooperbench.eval.backends.doubt import line
from cooperbench.eval.backends.shell import terminate

__all__ = ["CHECKS", "Check", "CheckFailed", "CheckResult", "CheckSkipped", "ConfiguredImage", "Subject"]
__all__ += ["check", "examine", "run_checks"]

Outcome = Literal["kept", "broken", "skipped", "known gap", "gap closed"]


@dataclass(frozen=True, slots=True)
class Check:
    """One clause of the contract."""

    name: str
    meaning: str
    clause: Clause


@dataclass(frozen=True, slots=True)
class CheckResult:
    """How a backend stands to one clause."""

    name: str
    meaning: str
    outcome: Outcome
    message: str = ""
    """What was expected and seen, why it was skipped, or the reason of the known gap."""
    seconds: float = 0.0

    @property
    def fine(self) -> bool:
        """Whether nobody has to act: a gap that was closed must leave the list of known ones."""
        return self.outcome not in ("broken", "gap closed")


CHECKS: tuple[Check, ...] = tuple(
    Check(name, (clause.__doc__ or "").strip().splitlines()[0], clause) for name, clause in CLAUSES.items()
)


def run_checks(
    backend: EvalBackend,
    image: str,
    *,
    known_failures: Mapping[str, str] | None = None,
    only: Collection[str] | None = None,
    configured: ConfiguredImage | None = None,
    deadline: float = 120,
) -> list[CheckResult]:
    """Hold `backend` to the contract, with sandboxes of `image`.

    Args:
        known_failures: clauses it is known not to keep, each with the reason.
        only: names of the clauses to look at; None for all.
        configured: an image for the clause on an image's own configuration, which is skipped without.
        deadline: seconds a clause may take, sandboxes made and all.
    """
    subject = Subject(backend, image, configured=configured)
    gaps = known_failures or {}
    return [examine(each, subject, gaps.get(each.name), deadline) for each in _chosen(only, gaps)]


def _chosen(only: Collection[str] | None, gaps: Mapping[str, str]) -> Iterator[Check]:
    for name in (*(only or ()), *gaps):
        if name not in CLAUSES:
            raise UsageError(f"there is no check {name!r}: there are {', '.join(CLAUSES)}")
    return (each for each in CHECKS if only is None or each.name in only)


def examine(each: Check, subject: Subject, gap: str | None = None, deadline: float = 120) -> CheckResult:
    """One clause as a result: nothing that goes wrong is an exception."""
    start = time.monotonic()
    outcome, message = _outcome(each, subject, gap, deadline)
    return CheckResult(each.name, each.meaning, outcome, message, time.monotonic() - start)


def _outcome(each: Check, subject: Subject, gap: str | None, deadline: float) -> tuple[Outcome, str]:
    try:
        check(each, subject, deadline)
    except CheckSkipped as reason:
        return "skipped", str(reason)
    except CheckFailed as failure:
        return ("broken", str(failure)) if gap is None else ("known gap", gap)
    return ("kept", "") if gap is None else ("gap closed", f"it was listed as a known gap: {gap}")


def check(each: Check, subject: Subject, deadline: float = 120) -> None:
    """Run one clause; whatever happens, no sandbox it made is left.

    Raises:
        CheckFailed: the clause is not kept, or not within `deadline` seconds. CheckSkipped: it cannot be looked at.
    """
    own = replace(subject, made=[])
    try:
        _within(deadline, each, own)
    finally:
        for sandbox in own.made:
            terminate(sandbox)


def _within(deadline: float, each: Check, subject: Subject) -> None:
    """In a thread, so that a backend that blocks for ever is a failed check and not a doctor that hangs."""
    ended: list[BaseException | None] = []

    def work() -> None:
        try:
            each.clause(subject)
            ended.append(None)
        except (CheckFailed, CheckSkipped) as said:
            ended.append(said)
        except Exception as problem:  # whatever the backend raised where it must not
            failure = CheckFailed(f"expected no exception, saw {line(problem)}")
            failure.__cause__ = problem
            ended.append(failure)

    thread = threading.Thread(target=work, name=f"check {each.name}", daemon=True)
    thread.start()
    thread.join(deadline)
    problem = ended[0] if ended else CheckFailed(f"expected an end within {deadline:g} s, saw none")
    if problem is not None:
        raise problem
