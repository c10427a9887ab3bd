"""One agent's part of a trial, from its sandbox to its patch."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, replace
from typing import Any

from cooperbench.agents.base import LIMITS_EXCEEDED, Agent, AgentResult, Assignment, Mailbox
from cooperbench.collaboration import Bus, BusMailbox, NoMailbox, Relay, client_files
from cooperbench.errors import AgentError, SandboxLost
from cooperbench.eval.backends import shell
from cooperbench.eval.backends.base import EvalBackend, Price, Sandbox, SandboxSpec
from cooperbench.eval.expense import Expense, expense, price_of
from cooperbench.gateway import Line
from cooperbench.runner import repository
from cooperbench.runner.models import metered
from cooperbench.runner.repository import Baseline, Taken

MARGIN = 1800
"""Seconds a sandbox may live beside its agent's own time: preparing the repository and taking the patch."""
GRACE = 30
"""Seconds an agent is given to come back by itself after its time is over."""


_FIGURES = ("cost", "input_tokens", "output_tokens", "cache_read_tokens", "cache_write_tokens")


@dataclass(frozen=True, slots=True)
class Work:
    """What one agent came to."""

    result: AgentResult
    taken: Taken
    seconds: float


class Seat:
    """One agent, its sandbox and its end of the bus. `open`, then `work`; `close` ends it at any time."""

    def __init__(self, agent: Agent, assignment: Assignment, bus: Bus | None) -> None:
        """A seat without a bus has nobody to talk to."""
        self.agent = agent
        self.assignment = assignment
        self._bus = bus
        self._sandbox: Sandbox | None = None
        self._baseline: Baseline | None = None
        self.expense = Expense()
        """What its sandbox has cost, once that has ended."""
        self._price: Price | None = None
        self._made = self._begun = 0.0
        self._told: AgentResult | None = None
        self._closed = False
        self._lock = threading.Lock()
        self._collecting = threading.Lock()

    @property
    def line(self) -> Line | None:
        """The agent's line to its model."""
        return self.assignment.line

    @property
    def agent_id(self) -> str:
        """Who sits here."""
        return self.assignment.agent_id

    @property
    def _relayed(self) -> bool:
        """Whether `coop` must work in the sandbox: agents that never call it may say so."""
        return self._bus is not None and getattr(self.agent, "uses_messages", True)

    def cost(self) -> float | None:
        """US dollars the agent's model has cost so far, whatever became of its work; None: nobody knows."""
        if self._told is not None:
            return self._told.cost
        if self._begun == 0:
            return 0.0
        return self.line.figures().cost if self.line is not None else None

    def spent(self) -> float:
        """US dollars it is known to have cost so far, its sandbox included once that has ended."""
        return self.expense.counted + (self.line.spent if self.line is not None else self.cost() or 0.0)

    def open(self, backend: EvalBackend, spec: SandboxSpec) -> None:
        """Make the sandbox and ready the repository in it.

        Raises:
            BackendError: one of the two failed.
        """
        if self._closed:
            raise SandboxLost("the trial has ended")
        self._price, self._made = price_of(backend), time.monotonic()
        sandbox = shell.create(backend, spec)
        with self._lock:
            self._sandbox = sandbox
            closed = self._closed
        if closed:  # while it was being made
            self.close()
            raise SandboxLost("the trial has ended")
        self._baseline = repository.prepare(sandbox, self.assignment.workdir)
        if self._relayed:
            shell.put_files(sandbox, client_files(self.assignment.means, self._baseline.commit))

    def work(self) -> Work | None:
        """Let the agent work, then take its patch and end the sandbox; None when `expire` was faster.

        Raises:
            AgentError, BackendError, or whatever else comes out of a framework.
        """
        self._begun = time.monotonic()
        try:
            result = self._run()
            return self._collect(result) if self._claim() else None
        finally:
            self.close()

    def expire(self) -> Work | None:
        """End an agent that does not end by itself, and take what it has; None when it has ended after all."""
        if not self._claim():
            return None
        self.hang_up()
        if self._bus is not None:
            self._bus.finish(self.agent_id)
        result = AgentResult(LIMITS_EXCEEDED, error=f"over its time limit of {self.assignment.timeout:g} s")
        try:
            return self._collect(result)
        finally:
            self.close()

    def close(self) -> None:
        """End the sandbox, if there is one; safe at any time and from any thread."""
        with self._lock:
            self._closed = True
            sandbox, self._sandbox = self._sandbox, None
        if sandbox is not None:
            shell.terminate(sandbox)
            self.expense = expense(self._price, time.monotonic() - self._made, sandbox)

    def _run(self) -> AgentResult:
        sandbox = self._open_sandbox()
        mailbox: Mailbox = NoMailbox()
        relay: Relay | None = None
        if self._bus is not None:
            mailbox = own = BusMailbox(self._bus, self.agent_id)
            relay = Relay(sandbox, own) if self._relayed else None
            self._bus.start(self.agent_id)
        if relay is not None:
            relay.start()
        try:
            result = self.agent.run(self.assignment, sandbox, mailbox)
        except (
            SystemExit,
            KeyboardInterrupt,
        ) as error:  # a framework's way to give up: Ctrl-C is never told here
            raise AgentError(f"the agent ended with {type(error).__name__}: {error}") from error
        finally:
            if relay is not None:
                relay.stop()
            self.hang_up()
            if self._bus is not None:
                self._bus.check()
                self._bus.finish(self.agent_id)
        if not isinstance(result, AgentResult):
            raise AgentError(f"the agent returned {type(result).__name__}, not an AgentResult")
        return _sound(result)

    def hang_up(self) -> None:
        """What the agent has left running gets no more answers from its model."""
        if self.line is not None:
            self.line.close()

    def _claim(self) -> bool:
        """Whether the caller is the one to take the patch: it is taken once."""
        return self._collecting.acquire(blocking=False)  # and never released

    def _collect(self, result: AgentResult) -> Work:
        seconds = time.monotonic() - self._begun
        sandbox, baseline = self._open_sandbox(), self._baseline
        if baseline is None:
            raise SandboxLost("the sandbox was never made ready")
        self._told = metered(result, self.line)
        return Work(self._told, repository.take(sandbox, self.assignment.workdir, baseline), seconds)

    def _open_sandbox(self) -> Sandbox:
        with self._lock:
            if self._sandbox is None:
                raise SandboxLost("the trial has ended")
            return self._sandbox


def _sound(result: AgentResult) -> AgentResult:
    """The same with every figure that cannot be added up or written as JSON unknown: the work itself is not lost."""
    unknown: dict[str, Any] = {name: None for name in _FIGURES if not _is_figure(getattr(result, name))}
    if result.steps is None or not _is_figure(result.steps):
        unknown["steps"] = 0
    return replace(result, **unknown) if unknown else result


_MOST = 1e15
"""No count and no amount is larger; whole numbers beyond what a float holds end whoever adds them up."""


def _is_figure(value: Any) -> bool:
    return value is None or (isinstance(value, int | float) and -_MOST < value < _MOST)
