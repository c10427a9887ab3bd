"""All an agent author reads: what an agent gets, what it gives back.

An agent is run by the harness, outside its sandbox: it reaches in through `sandbox.exec`, talks to its teammates
through `mailbox` (or through the `coop` command inside the sandbox), and leaves its work in the repository at
`assignment.workdir`. It never hands over a patch: the runner takes that itself, from the sandbox.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

from cooperbench.eval.backends.base import Sandbox

if TYPE_CHECKING:
    from cooperbench.gateway import Line

REPOSITORY = "/workspace/repo"

SUBMITTED = "Submitted"
LIMITS_EXCEEDED = "LimitsExceeded"
ERROR = "Error"


@dataclass(frozen=True, slots=True)
class Means:
    """What the agents of a trial have to work together with. In `solo`, nothing."""

    messages: bool = False
    """`send`, `broadcast`, `inbox`."""
    ask: bool = False
    """`ask`: a question that waits for its answer."""
    tasks: bool = False
    """The team's task list."""
    notes: bool = False
    """The team's scratchpad."""
    git: bool = False
    """`push` and `fetch`: teammates' work as git branches."""
    mcp: bool = False
    """Whether frameworks that speak MCP are given ``coop mcp``."""
    refresh: bool = False
    """Whether unread messages and the task list are put before the agent between its steps."""

    @property
    def any(self) -> bool:
        """Whether agents can reach each other at all."""
        return self.messages or self.tasks or self.notes or self.git


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
    means: Means = Means()
    """What there is to work together with; an agent need not be told of what is switched off."""
    role: str = ""
    """In `team`: `lead` or `member`."""
    lead: str | None = None
    """In `team`: the lead's id."""
    bus_url: str | None = None
    """With ``--redis``: how a process outside the harness reaches the trial's bus, ``redis://…#run:ID``. A secret."""
    line: Line | None = None
    """This agent's line to its model, for agents that say `uses_gateway`."""
    image: str = ""
    """The task's image, by the dataset's name for it."""
    prompts: Path | None = None
    """A directory of the user's own prompt templates, see `cooperbench.agents.prompting`."""


@dataclass(frozen=True, slots=True)
class AgentResult:
    """What an agent did, in figures. Unknown is None, never 0. Where the agent has a line to its model, cost and
    tokens are the line's, whatever stands here."""

    status: str = SUBMITTED
    """`Submitted`, `LimitsExceeded`, `Error`, or a framework's own word."""
    cost: float | None = None
    """US dollars."""
    steps: int = 0
    input_tokens: int | None = None
    """All of the prompts, what came from the provider's cache or was written to it included."""
    output_tokens: int | None = None
    cache_read_tokens: int | None = None
    cache_write_tokens: int | None = None
    messages: Sequence[Mapping[str, Any]] = field(default_factory=tuple)
    """The transcript, JSON-able, as the framework words it. An entry with a `timestamp` (seconds since the epoch, or
    ISO 8601) has its place in the trial's timeline."""
    error: str | None = None


@dataclass(frozen=True, slots=True)
class Message:
    """One message between agents; `sent_at` is seconds since the epoch by the harness's clock."""

    sender: str
    recipient: str
    text: str
    sent_at: float
    broadcast: bool = False
    """Whether it went to every teammate at once."""


@dataclass(frozen=True, slots=True)
class Todo:
    """One entry of the team's task list."""

    number: int
    """From 1, in the order they were added."""
    title: str
    status: Literal["open", "claimed", "done"]
    created_by: str
    created_at: float
    """Seconds since the epoch by the harness's clock, as all times here."""
    owner: str | None = None
    claimed_at: float | None = None
    done_at: float | None = None
    remarks: tuple[str, ...] = ()
    """What was said about it, ``agent: text``, oldest first."""


class Mailbox(Protocol):
    """One agent's end of the bus. The same operations are there inside the sandbox, as `coop`.

    Every method but `receive` raises `UsageError` where what it needs is switched off in the run.
    """

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
        """Take the unread messages, oldest first; waits up to `wait` seconds for the first.

        Where messages are switched off there are none.
        """
        ...

    def ask(self, recipient: str, text: str, wait: float) -> Message | None:
        """Send, then wait for what that agent next sends to this one alone; None when nothing comes in time."""
        ...

    def tasks(self) -> tuple[Todo, ...]:
        """The team's task list."""
        ...

    def add_task(self, title: str) -> Todo:
        """Put an open task on the list."""
        ...

    def claim_task(self, number: int | None = None) -> Todo:
        """Make a task one's own; the first open one when none is named. Of several who claim it, one gets it.

        Raises:
            UsageError: it is another's, done, or there is none.
        """
        ...

    def finish_task(self, number: int, remark: str = "") -> Todo:
        """Call one's own task, or an open one, done."""
        ...

    def update_task(self, number: int, remark: str) -> Todo:
        """Say something about a task."""
        ...

    def read_notes(self) -> str:
        """The team's scratchpad."""
        ...

    def append_note(self, text: str) -> None:
        """Add to the scratchpad."""
        ...

    def replace_notes(self, text: str) -> None:
        """Make this the whole scratchpad."""
        ...


class Agent(Protocol):
    """One agent framework."""

    def run(self, assignment: Assignment, sandbox: Sandbox, mailbox: Mailbox) -> AgentResult:
        """Do the work; return when done or at a limit.

        Raises:
            AgentError: the framework itself could not work. BackendError: the sandbox could not.
        """
        ...
