"""What the scripted model says next, from nothing but the conversation it is sent."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

WHO = re.compile(r"You are (agent\d+)")
CACHED = 640
"""Input tokens said to come from the cache, from an agent's second call on."""


@dataclass(frozen=True)
class Turn:
    """A conversation as far as the script looks at it."""

    agent: str | None
    """Whose it is, by its prompt; None for what a framework asks on the side."""
    results: int
    """How many tool results it holds."""
    tools: Sequence[str]


@dataclass(frozen=True)
class Answer:
    """A command to run, or text to end with."""

    command: str | None
    text: str
    number: int
    """Which answer of the conversation, from 0."""


@dataclass(frozen=True)
class Script:
    """Commands by agent id; after the last one the model says that it is done."""

    commands: Mapping[str, Sequence[str]]
    last_word: str = "All done."
    usage: Mapping[str, int] = field(default_factory=dict)

    def answer(self, turn: Turn) -> Answer:
        """What comes next."""
        commands = self.commands.get(turn.agent or "", ()) if turn.tools else ()
        if turn.results < len(commands):
            return Answer(commands[turn.results], f"Step {turn.results + 1}.", turn.results)
        return Answer(None, self.last_word, turn.results)


def tokens(number: int) -> tuple[int, int, int]:
    """Input (cached ones included), of those cached, and output tokens of the answer with this number."""
    return 1000 + 100 * number, CACHED if number else 0, 10 + number


def whose(text: str) -> str | None:
    """The agent a prompt is for."""
    found = WHO.search(text)
    return found[1] if found else None
