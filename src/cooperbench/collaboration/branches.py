"""Teammates' work as git bundles. The harness keeps the bytes and never looks into them: the receiving sandbox does."""

from __future__ import annotations

from dataclasses import dataclass

from cooperbench.collaboration.journal import Journal
from cooperbench.errors import UsageError

BUNDLE_LIMIT = 16 * 1024 * 1024
"""Bytes of one push: as much as a patch may have."""
PUSHED = 128 * 1024 * 1024
"""Bytes one agent may push in a trial, all in all."""


@dataclass(frozen=True, slots=True)
class Branch:
    """What an agent pushed last."""

    agent: str
    number: int
    """Which of the agent's pushes, from 1."""
    at: float
    bundle: bytes


class Branches:
    """The latest push of every agent of a trial."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._latest: dict[str, Branch] = {}
        self._pushed: dict[str, int] = {}

    def push(self, agent: str, bundle: bytes) -> Branch:
        """Keep this as the agent's work."""
        with self._journal.turn(agent, "push"):
            if not bundle or len(bundle) > BUNDLE_LIMIT:
                raise UsageError(f"the push has {len(bundle)} bytes; 1 to {BUNDLE_LIMIT} are allowed")
            pushed = self._pushed.get(agent, 0) + len(bundle)
            if pushed > PUSHED:
                raise UsageError(f"{agent} has pushed all of the {PUSHED // 2**20} MiB an agent may push")
            self._journal.admit(agent, "")
            before = self._latest.get(agent)
            number = before.number + 1 if before is not None else 1
            at = self._journal.add(agent, "push", push=number, bytes=len(bundle)).at
            self._pushed[agent] = pushed
            self._latest[agent] = Branch(agent, number, at, bundle)
            return self._latest[agent]

    def fetch(self, agent: str, wanted: tuple[str, ...]) -> tuple[Branch, ...]:
        """What those of `wanted` pushed last who have pushed.

        Raises:
            UsageError: none of them has.
        """
        with self._journal.turn(agent, "fetch"):
            found = tuple(self._latest[name] for name in wanted if name in self._latest)
            if not found:
                raise UsageError(f"{' and '.join(wanted)} has pushed nothing yet")
            self._journal.admit(agent, "")
            pushes = {branch.agent: branch.number for branch in found}
            self._journal.add(agent, "fetch", pushes=pushes)
            return found
