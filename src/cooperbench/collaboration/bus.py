"""One trial's bus, in the harness's memory: who is there, and their messages, in one order, kept until read.

A message to an agent that has not started waits for it. A message nobody will ever read (an unknown agent, one
that has finished) is refused, so that the sender knows. Where unread messages wait is `inboxes.py`'s.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from cooperbench.agents.base import Means, Message, Todo
from cooperbench.collaboration.branches import Branches
from cooperbench.collaboration.inboxes import Inboxes, MemoryInboxes, Taken
from cooperbench.collaboration.journal import Entry, Journal
from cooperbench.collaboration.scratchpad import Scratchpad
from cooperbench.collaboration.tasklist import TaskList
from cooperbench.collaboration.turns import Turns
from cooperbench.errors import BackendError, UsageError

READS = 20_000
"""Reads of one agent that are recorded; reading costs nothing else, and a loop of it must not fill the memory."""

EVERYTHING = Means(messages=True, ask=True, tasks=True, notes=True, git=True, mcp=True, refresh=True)


@dataclass(frozen=True, slots=True)
class Posting:
    """One delivered message in the journal."""

    number: int
    """Its place in the trial's one order, from 1."""
    message: Message


class RecipientFinishedError(UsageError):
    """The recipient has finished and will read nothing more."""


class Bus:
    """What the agents of one trial share. Safe to use from any thread."""

    def __init__(
        self,
        agents: Sequence[str],
        *,
        means: Means = EVERYTHING,
        inboxes: Inboxes | None = None,
        turns: Turns | None = None,
        show: Callable[[Todo], None] | None = None,
    ) -> None:
        """A bus for exactly these agents.

        Args:
            means: what is switched on.
            inboxes: where unread messages wait; by default in memory.
            turns: in which order things happen, and by which clock; by default as they come.
            show: called with every task that has changed, one at a time.
        """
        self.agents = tuple(agents)
        self.means = means
        self._record = Journal(self.agents, turns or Turns())
        self._inboxes = inboxes or MemoryInboxes(self.agents)
        self._finished: set[str] = set()
        self._reads = dict.fromkeys(self.agents, 0)
        self._closed = False
        self._failure: BackendError | None = None
        self.tasks = TaskList(self._record, self._finished.__contains__, show or (lambda _: None))
        self.notes = Scratchpad(self._record)
        self.branches = Branches(self._record)

    # ------------------------------------------------------------------------------------------ the record

    def journal(self) -> tuple[Posting, ...]:
        """Every message so far, in order."""
        return tuple(
            Posting(entry.number, _message(entry)) for entry in self.timeline() if entry.kind == "message"
        )

    def timeline(self) -> tuple[Entry, ...]:
        """Everything that was done so far, in order."""
        return self._record.entries()

    # ------------------------------------------------------------------------------------------ its own trouble

    def fail(self, problem: BackendError) -> None:
        """The bus does not work any more: `check` says so."""
        self._failure = self._failure or problem

    def check(self) -> None:
        """Nothing, while the bus works.

        Raises:
            BackendError: why it does not.
        """
        if self._failure is not None:
            raise self._failure

    # ------------------------------------------------------------------------------------------ who is there

    def start(self, agent: str) -> None:
        """This agent is at work from now on."""
        with self._record.turn(agent, "start"):
            self._record.add(agent, "start")

    def finish(self, agent: str) -> None:
        """This agent will read nothing more; whoever waits only for it stops waiting."""
        with self._record.turn(agent, "finish"):
            if agent not in self._finished:
                self._finished.add(agent)
                self._record.add(agent, "finish")

    def finished(self, agent: str) -> bool:
        """Whether this agent is done."""
        return agent in self._finished

    def present(self, asker: str) -> dict[str, bool]:
        """Every agent, and whether it is still at work."""
        with self._record.turn(asker, "who"):
            return {agent: agent not in self._finished for agent in self.agents}

    def known(self, agent: str) -> None:
        """Refuse a name that is nobody's here.

        Raises:
            UsageError: no such agent in this trial.
        """
        if agent not in self.agents:
            raise UsageError(f"no agent {agent[:60]!r} here; there is {', '.join(self.agents)}")

    # ------------------------------------------------------------------------------------------ messages

    def post(self, sender: str, recipient: str, text: str) -> Message:
        """Leave a message; what became of it.

        Raises:
            UsageError: unknown recipient, the sender itself, a text too long.
            RecipientFinishedError: the recipient has finished.
        """
        with self._record.turn(sender, "message"):
            self.known(recipient)
            if recipient == sender:
                raise UsageError("a message to yourself: name a teammate")
            if recipient in self._finished:
                raise RecipientFinishedError(
                    f"{recipient} has finished and will not read it; nothing was sent"
                )
            self._record.admit(sender, text)
            return self._deliver(sender, recipient, text, broadcast=False)

    def broadcast(self, sender: str, text: str) -> None:
        """Leave a message for every other agent still at work.

        Raises:
            UsageError: a text too long.
            RecipientFinishedError: all others have finished.
        """
        with self._record.turn(sender, "message"):
            recipients = [other for other in self._others(sender) if other not in self._finished]
            if not recipients:
                raise RecipientFinishedError("every teammate has finished; nothing was sent")
            self._record.admit(sender, text, len(recipients))
            for recipient in recipients:
                self._deliver(sender, recipient, text, broadcast=True)

    def take(self, agent: str, wait: float, room: int | None = None) -> list[Message]:
        """This agent's unread messages; waits for the first while somebody is left who could send one.

        Args:
            room: bytes; what has no room stays unread, but for the first.
        """
        return self._take(agent, wait, self._others(agent), room=room)

    def take_answer(self, agent: str, question: Message, wait: float) -> Message | None:
        """The first thing that who was asked then says to `agent` alone; everything else stays unread."""

        def is_answer(message: Message) -> bool:
            later = message.sent_at > question.sent_at
            return message.sender == question.recipient and later and not message.broadcast

        found = self._take(agent, wait, (question.recipient,), is_answer)
        return found[0] if found else None

    def put_back(self, agent: str, messages: Sequence[Message]) -> None:
        """Make messages unread again that were taken but reached nobody."""
        with self._record.turn(agent, "put back"):
            self._inboxes.put_back(agent, messages)

    def close(self) -> None:
        """Record what came from outside and nobody has read; the bus is not used any more. Once is enough."""
        if self._closed:
            return
        self._closed = True
        try:
            for agent in self.agents:
                with self._record.turn(agent, "close"):
                    self._record_foreign(self._inboxes.take(agent))
        finally:
            self._inboxes.close()

    def _deliver(self, sender: str, recipient: str, text: str, *, broadcast: bool) -> Message:
        entry = self._record.add(sender, "message", to=recipient, text=text, broadcast=broadcast)
        message = _message(entry)
        self._inboxes.put(message)
        return message

    def _take(
        self,
        agent: str,
        wait: float,
        senders: Sequence[str],
        wanted: Callable[[Message], bool] | None = None,
        room: int | None = None,
    ) -> list[Message]:
        deadline = time.monotonic() + wait

        def pause() -> float:
            if agent in self._finished or self._finished.issuperset(senders):
                return 0
            if self._inboxes.has(agent, wanted):
                return 0
            return min(deadline - time.monotonic(), self._inboxes.poll)

        with self._record.turn(agent, "read", pause):
            taken = self._inboxes.take(agent, wanted, room)
            self._record_foreign(taken)
            if taken.messages and self._reads[agent] < READS:
                self._reads[agent] += 1
                self._record.add(agent, "read", messages=len(taken.messages))
            return list(taken.messages)

    def _record_foreign(self, taken: Taken) -> None:
        for message in taken.foreign:
            details = {"to": message.recipient, "text": message.text, "broadcast": False, "outside": True}
            self._record.add(message.sender, "message", **details)

    def _others(self, agent: str) -> tuple[str, ...]:
        return tuple(other for other in self.agents if other != agent)


def _message(entry: Entry) -> Message:
    details = entry.details
    return Message(entry.agent, details["to"], details["text"], entry.at, details["broadcast"])
