"""One trial's messages, in the harness's memory: one order for all of them, kept until read.

A message to an agent that has not started waits for it. A message nobody will ever read (an unknown agent, one
that has finished) is refused, so that the sender knows.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from cooperbench.agents.base import Message
from cooperbench.errors import UsageError

MESSAGE_LIMIT = 64 * 1024
"""Bytes (UTF-8) one message may have."""

BUDGET = 16 * 1024 * 1024
"""Bytes one agent may send in a trial: an agent in a loop must not eat the harness's memory."""

_OVERHEAD = 256
"""What a message costs beside its text, so that empty ones are not free."""


@dataclass(frozen=True, slots=True)
class Posting:
    """One delivered message in the journal."""

    number: int
    """Its place in the trial's one order, from 1."""
    message: Message
    broadcast: bool


class RecipientFinishedError(UsageError):
    """The recipient has finished and will read nothing more."""


class Bus:
    """The messages of one trial. Safe to use from any thread."""

    def __init__(self, agents: Sequence[str], clock: Callable[[], float] | None = None) -> None:
        """A bus for exactly these agents.

        Args:
            clock: seconds since the epoch; by default a clock that never goes back.
        """
        self.agents = tuple(agents)
        self._clock = clock or _steady_clock()
        self._changed = threading.Condition()
        self._unread: dict[str, deque[Message]] = {agent: deque() for agent in self.agents}
        self._spent = dict.fromkeys(self.agents, 0)
        self._finished: set[str] = set()
        self._journal: list[Posting] = []

    def mailbox(self, agent: str) -> BusMailbox:
        """One agent's end.

        Raises:
            UsageError: no such agent in this trial.
        """
        self._known(agent)
        return BusMailbox(self, agent)

    def journal(self) -> tuple[Posting, ...]:
        """Every message so far, in order."""
        with self._changed:
            return tuple(self._journal)

    def finish(self, agent: str) -> None:
        """This agent will read nothing more; whoever waits only for it stops waiting."""
        with self._changed:
            self._finished.add(agent)
            self._changed.notify_all()

    def finished(self, agent: str) -> bool:
        """Whether this agent is done."""
        with self._changed:
            return agent in self._finished

    def post(self, sender: str, recipients: Sequence[str], text: str, broadcast: bool = False) -> None:
        """Deliver `text` to all of `recipients`, or to none.

        Raises:
            UsageError: unknown recipient, the sender itself, a text too long.
            RecipientFinishedError: the recipient has finished.
        """
        size = len(text.encode("utf-8", "surrogatepass"))
        if size > MESSAGE_LIMIT:
            raise UsageError(f"the message has {size} bytes, {MESSAGE_LIMIT} are allowed: send less")
        with self._changed:
            for recipient in recipients:
                self._accepts(sender, recipient)
            self._spend(sender, (size + _OVERHEAD) * len(recipients))
            for recipient in recipients:
                message = Message(sender, recipient, text, self._clock())
                self._unread[recipient].append(message)
                self._journal.append(Posting(len(self._journal) + 1, message, broadcast))
            self._changed.notify_all()

    def take(self, agent: str, wait: float) -> list[Message]:
        """This agent's unread messages; waits for the first while somebody is left who could send one."""
        deadline = time.monotonic() + wait
        with self._changed:
            while not self._unread[agent] and self._may_still_come(agent):
                left = deadline - time.monotonic()
                if left <= 0:
                    break
                self._changed.wait(left)
            messages = list(self._unread[agent])
            self._unread[agent].clear()
            return messages

    def put_back(self, agent: str, messages: Sequence[Message]) -> None:
        """Make messages unread again that were taken but reached nobody."""
        with self._changed:
            self._unread[agent].extendleft(reversed(messages))
            self._changed.notify_all()

    def _may_still_come(self, agent: str) -> bool:
        return agent not in self._finished and any(
            other != agent and other not in self._finished for other in self.agents
        )

    def _accepts(self, sender: str, recipient: str) -> None:
        self._known(recipient)
        if recipient == sender:
            raise UsageError("a message to yourself: name a teammate")
        if recipient in self._finished:
            raise RecipientFinishedError(f"{recipient} has finished and will not read it; nothing was sent")

    def _known(self, agent: str) -> None:
        if agent not in self._unread:
            raise UsageError(f"no agent {agent[:60]!r} here; there is {', '.join(self.agents)}")

    def _spend(self, sender: str, size: int) -> None:
        if self._spent[sender] + size > BUDGET:
            raise UsageError(
                f"{sender} has sent all of the {BUDGET // 2**20} MiB an agent may send in a trial"
            )
        self._spent[sender] += size


class BusMailbox:
    """One agent's end of a bus: the `Mailbox` agents are given, and a little more for the relay."""

    def __init__(self, bus: Bus, agent: str) -> None:
        self.bus = bus
        self.agent = agent

    @property
    def teammates(self) -> tuple[str, ...]:
        """All other agents."""
        return tuple(other for other in self.bus.agents if other != self.agent)

    def send(self, recipient: str, text: str) -> None:
        """Leave a message; kept until read, also when the recipient has not started."""
        self.bus.post(self.agent, (recipient,), text)

    def broadcast(self, text: str) -> None:
        """Leave a message for every teammate still at work.

        Raises:
            RecipientFinishedError: none is.
        """
        present = [mate for mate in self.teammates if not self.bus.finished(mate)]
        if not present:
            raise RecipientFinishedError("every teammate has finished; nothing was sent")
        try:
            self.bus.post(self.agent, present, text, broadcast=True)
        except RecipientFinishedError:  # one finished in between
            self.broadcast(text)

    def receive(self, wait: float = 0) -> list[Message]:
        """Take the unread messages, oldest first; waits up to `wait` seconds for the first."""
        return self.bus.take(self.agent, wait)

    def put_back(self, messages: Sequence[Message]) -> None:
        """Make messages unread again that were taken but reached nobody."""
        self.bus.put_back(self.agent, messages)


class NoMailbox:
    """What an agent gets where messages are switched off, or nobody is there to talk to."""

    def send(self, recipient: str, text: str) -> None:
        """Always refused."""
        del text
        raise UsageError(f"no message to {recipient}: messages are switched off in this run")

    def broadcast(self, text: str) -> None:
        """Always refused."""
        del text
        raise UsageError("no message to anybody: messages are switched off in this run")

    def receive(self, wait: float = 0) -> list[Message]:
        """Nothing, at once."""
        del wait
        return []


def _steady_clock() -> Callable[[], float]:
    """Seconds since the epoch that never go back, whatever happens to the host's clock."""
    offset = time.time() - time.monotonic()
    return lambda: offset + time.monotonic()
