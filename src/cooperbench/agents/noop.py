"""The agent that does nothing: what the harness costs, and what an empty patch scores."""

from __future__ import annotations

from cooperbench.agents.base import AgentResult, Assignment, Mailbox
from cooperbench.eval.backends.base import Sandbox


class NoopAgent:
    """Submits the repository as it is."""

    uses_model = False
    uses_messages = False

    def run(self, assignment: Assignment, sandbox: Sandbox, mailbox: Mailbox) -> AgentResult:
        """Return at once."""
        del assignment, sandbox, mailbox
        return AgentResult(cost=0.0)
