"""Where unread messages wait: in the harness's memory, or wherever else something has these methods."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from cooperbench.agents.base import Message


@dataclass(frozen=True, slots=True)
class Taken:
    """Messages that have left an inbox."""

    messages: tuple[Message, ...] = ()
    """Oldest first."""
    foreign: tuple[Message, ...] = ()
    """Those of them that did not come by the bus."""


class Inboxes(Protocol):
    """The unread messages of one trial. Called by one thread at a time."""

    @property
    def poll(self) -> float:
        """Seconds after which to look anew though nobody has told of a message."""
        ...

    def put(self, message: Message) -> None:
        """Leave a message for its recipient."""
        ...

    def has(self, agent: str, wanted: Callable[[Message], bool] | None = None) -> bool:
        """Whether there is anything to take."""
        ...

    def take(
        self, agent: str, wanted: Callable[[Message], bool] | None = None, room: int | None = None
    ) -> Taken:
        """Everything unread, or as much as has `room` (bytes), but one at least; or the first that is `wanted`."""
        ...

    def put_back(self, agent: str, messages: Sequence[Message]) -> None:
        """These come first again."""
        ...

    def close(self) -> None:
        """Leave nothing behind."""
        ...


def weight(message: Message) -> int:
    """Bytes of a message as an agent is shown it: its text indented, under a head."""
    lines = message.text.splitlines()
    return len(message.text.encode("utf-8", "surrogatepass")) + 2 * len(lines) + 64


class MemoryInboxes:
    """In this process: nobody else can read or write them."""

    poll = 3600.0

    def __init__(self, agents: Sequence[str]) -> None:
        self._unread: dict[str, deque[Message]] = {agent: deque() for agent in agents}

    def put(self, message: Message) -> None:
        """Leave a message for its recipient."""
        self._unread[message.recipient].append(message)

    def has(self, agent: str, wanted: Callable[[Message], bool] | None = None) -> bool:
        """Whether there is anything to take."""
        return any(map(wanted or bool, self._unread[agent]))

    def take(
        self, agent: str, wanted: Callable[[Message], bool] | None = None, room: int | None = None
    ) -> Taken:
        """Everything unread, or as much as has `room` (bytes), but one at least; or the first that is `wanted`."""
        unread = self._unread[agent]
        if wanted is None:
            messages: list[Message] = []
            while unread and (not messages or room is None or weight(unread[0]) <= room):
                room = room - weight(unread[0]) if room is not None else None
                messages.append(unread.popleft())
            return Taken(tuple(messages))
        first = next(filter(wanted, unread), None)
        if first is None:
            return Taken()
        unread.remove(first)
        return Taken((first,))

    def put_back(self, agent: str, messages: Sequence[Message]) -> None:
        """These come first again."""
        self._unread[agent].extendleft(reversed(messages))

    def close(self) -> None:
        """Forget what is unread."""
        for unread in self._unread.values():
            unread.clear()
