"""All an agent author reads: what an agent gets, what it gives back.

An agent is run by the harness, outside its sandbox: it reaches in through `sandbox.exec`, talks to its teammates
through `mailbox` (or through the `coop` command inside the sandbox), and leaves its work in the repository at
`assignment.workdir`. It never hands over a patch: the runner takes that itself, from the sandbox.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from cooperbench.eval.backends.base import Sandbox

REPOSITORY = "/workspace/repo"

SUBMITTED = "Submitted"
LIMITS_EXCEEDED = "LimitsExceeded"
ERROR = "Error"


@dataclass(frozen=True, slots=True)
class Assignment:
    """What one agent gets."""

    agent_id: str
    """``agent1`` … ``agentN``, by ascending feature number; in `solo` the only agent is ``agent1``."""
    teammates: tuple[str, ...]
    """The other agents' ids."""
    repo: str
    task_id: int
    features: tuple[int, ...]
    """The feature numbers this agent is to build: one in `coop`, all of the trial's in `solo`."""
    pair: tuple[int, ...]
    """All feature numbers of the trial, ascending."""
    setting: str
    instructions: str
    """The specification(s), as the dataset words them."""
    task_path: Path
    """The task's directory in the dataset, for oracles only: it holds the answers."""
    workdir: str = REPOSITORY
    model: str | None = None
    config: Path | None = None
    """What the user gave as ``--agent-config``."""
    timeout: float = 3600
    """Seconds of wall time this agent may take."""
    output_dir: Path | None = None
    """A directory of this agent's own on the harness's disk, for transcripts."""


@dataclass(frozen=True, slots=True)
class AgentResult:
    """What an agent did, in figures. Unknown is None, never 0."""

    status: str = SUBMITTED
    """`Submitted`, `LimitsExceeded`, `Error`, or a framework's own word."""
    cost: float | None = None
    """US dollars."""
    steps: int = 0
    input_tokens: int | None = None
    output_tokens: int | None = None
    cache_read_tokens: int | None = None
    cache_write_tokens: int | None = None
    messages: Sequence[Mapping[str, Any]] = field(default_factory=tuple)
    """The transcript, JSON-able, as the framework words it."""
    error: str | None = None


@dataclass(frozen=True, slots=True)
class Message:
    """One message between agents; `sent_at` is seconds since the epoch by the harness's clock."""

    sender: str
    recipient: str
    text: str
    sent_at: float


class Mailbox(Protocol):
    """One agent's end of the bus. The same operations are there inside the sandbox, as `coop`."""

    def send(self, recipient: str, text: str) -> None:
        """Leave a message; kept until read, also when the recipient has not started.

        Raises:
            UsageError: no such agent, the agent itself, or an over-long text.
        """
        ...

    def broadcast(self, text: str) -> None:
        """Leave a message for every teammate."""
        ...

    def receive(self, wait: float = 0) -> list[Message]:
        """Take the unread messages, oldest first; waits up to `wait` seconds for the first."""
        ...


class Agent(Protocol):
    """One agent framework."""

    def run(self, assignment: Assignment, sandbox: Sandbox, mailbox: Mailbox) -> AgentResult:
        """Do the work; return when done or at a limit.

        Raises:
            AgentError: the framework itself could not work. BackendError: the sandbox could not.
        """
        ...
