"""One agent's end of the bus: what `agents.base.Mailbox` promises, and what is switched off refused."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import NoReturn

from cooperbench.agents.base import Message, Todo
from cooperbench.collaboration.branches import Branch
from cooperbench.collaboration.bus import Bus
from cooperbench.errors import UsageError

_WORDS = {
    "messages": "messages are",
    "ask": "asking is",
    "tasks": "the task list is",
    "notes": "the scratchpad is",
    "git": "push and fetch are",
}


class BusMailbox:
    """The `Mailbox` agents are given, and a little more for the relay."""

    def __init__(self, bus: Bus, agent: str) -> None:
        """An end for one of the bus's agents.

        Raises:
            UsageError: no such agent in this trial.
        """
        bus.known(agent)
        self.bus = bus
        self.agent = agent

    @property
    def teammates(self) -> tuple[str, ...]:
        """All other agents."""
        return tuple(other for other in self.bus.agents if other != self.agent)

    def needs(self, what: str) -> None:
        """Refuse what is switched off.

        Args:
            what: one of the fields of `Means`.
        """
        if not getattr(self.bus.means, what):
            _refused(what)

    def present(self) -> dict[str, bool]:
        """Every agent of the trial, and whether it is still at work."""
        return self.bus.present(self.agent)

    # ------------------------------------------------------------------------------------------ messages

    def send(self, recipient: str, text: str) -> None:
        """Leave a message; kept until read, also when the recipient has not started."""
        self.needs("messages")
        self.bus.post(self.agent, recipient, text)

    def broadcast(self, text: str) -> None:
        """Leave a message for every teammate still at work.

        Raises:
            RecipientFinishedError: none is.
        """
        self.needs("messages")
        self.bus.broadcast(self.agent, text)

    def receive(self, wait: float = 0, *, room: int | None = None) -> list[Message]:
        """Take the unread messages, oldest first; waits up to `wait` seconds for the first. None where switched off.

        Args:
            room: take no more of them than have room in so many bytes, but one at least; the rest stays unread.
        """
        return self.bus.take(self.agent, wait, room) if self.bus.means.messages else []

    def put_back(self, messages: Sequence[Message]) -> None:
        """Make messages unread again that were taken but reached nobody."""
        self.bus.put_back(self.agent, messages)

    def question(self, recipient: str, text: str) -> Message:
        """The first half of `ask`: the question, sent."""
        self.needs("messages")
        self.needs("ask")
        return self.bus.post(self.agent, recipient, text)

    def answer_to(self, question: Message, wait: float) -> Message | None:
        """Its second half: what comes of it within `wait` seconds."""
        return self.bus.take_answer(self.agent, question, wait)

    def ask(self, recipient: str, text: str, wait: float) -> Message | None:
        """Send, then wait for what that agent next sends to this one alone; None when nothing comes in time."""
        return self.answer_to(self.question(recipient, text), wait)

    # ------------------------------------------------------------------------------------------ tasks

    def tasks(self) -> tuple[Todo, ...]:
        """The team's task list."""
        self.needs("tasks")
        return self.bus.tasks.read(self.agent)

    def add_task(self, title: str) -> Todo:
        """Put an open task on the list."""
        self.needs("tasks")
        return self.bus.tasks.add(self.agent, title)

    def claim_task(self, number: int | None = None) -> Todo:
        """Make a task one's own; the first open one when none is named."""
        self.needs("tasks")
        return self.bus.tasks.claim(self.agent, number)

    def finish_task(self, number: int, remark: str = "") -> Todo:
        """Call one's own task, or an open one, done."""
        self.needs("tasks")
        return self.bus.tasks.finish(self.agent, number, remark)

    def update_task(self, number: int, remark: str) -> Todo:
        """Say something about a task."""
        self.needs("tasks")
        return self.bus.tasks.update(self.agent, number, remark)

    # ------------------------------------------------------------------------------------------ scratchpad

    def read_notes(self) -> str:
        """The team's scratchpad."""
        self.needs("notes")
        page = self.bus.notes.read(self.agent)
        return "\n".join(signed(f"{note.author} wrote", note.at, note.text) for note in page)

    def append_note(self, text: str) -> None:
        """Add to the scratchpad."""
        self.needs("notes")
        self.bus.notes.append(self.agent, text)

    def replace_notes(self, text: str) -> None:
        """Make this the whole scratchpad."""
        self.needs("notes")
        self.bus.notes.replace(self.agent, text)

    # ------------------------------------------------------------------------------------------ branches

    def push(self, bundle: bytes) -> Branch:
        """Keep a git bundle as this agent's work so far."""
        self.needs("git")
        return self.bus.branches.push(self.agent, bundle)

    def fetch(self, teammate: str | None = None) -> tuple[Branch, ...]:
        """What one teammate, or each, pushed last.

        Raises:
            UsageError: no such teammate, or nothing was pushed.
        """
        self.needs("git")
        if teammate is not None:
            self.bus.known(teammate)
        wanted = self.teammates if teammate is None else (teammate,)
        return self.bus.branches.fetch(self.agent, wanted)


class NoMailbox:
    """What an agent gets where nothing is switched on, or nobody is there to talk to: everything is refused."""

    def send(self, recipient: str, text: str) -> None:
        """Refused."""
        del text
        raise UsageError(f"no message to {recipient}: messages are switched off in this run")

    def broadcast(self, text: str) -> None:
        """Refused."""
        self.send("anybody", text)

    def receive(self, wait: float = 0) -> list[Message]:
        """Nothing, at once."""
        del wait
        return []

    def ask(self, recipient: str, text: str, wait: float) -> Message | None:
        """Refused."""
        del wait
        self.send(recipient, text)
        return None

    def tasks(self) -> tuple[Todo, ...]:
        """Refused."""
        return _refused("tasks")

    def add_task(self, title: str) -> Todo:
        """Refused."""
        del title
        return _refused("tasks")

    def claim_task(self, number: int | None = None) -> Todo:
        """Refused."""
        del number
        return _refused("tasks")

    def finish_task(self, number: int, remark: str = "") -> Todo:
        """Refused."""
        del number, remark
        return _refused("tasks")

    def update_task(self, number: int, remark: str) -> Todo:
        """Refused."""
        del number, remark
        return _refused("tasks")

    def read_notes(self) -> str:
        """Refused."""
        return _refused("notes")

    def append_note(self, text: str) -> None:
        """Refused."""
        del text
        _refused("notes")

    def replace_notes(self, text: str) -> None:
        """Refused."""
        self.append_note(text)


def signed(head: str, at: float, text: str) -> str:
    """A text under its author's name. Its lines are indented, so no text can pass for another's head."""
    clock = datetime.fromtimestamp(at, UTC).strftime("%H:%M:%S")
    return "\n".join([f"{head} at {clock} UTC:", *(f"  {line}" for line in text.splitlines() or [""])])


def _refused(what: str) -> NoReturn:
    raise UsageError(f"{_WORDS[what]} switched off in this run")
