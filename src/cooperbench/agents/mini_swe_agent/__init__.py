"""mini-swe-agent (2.x, from its own package), its commands run in our sandbox, its model reached through the gateway.

`config` is its settings, `loop` its loop with ours around it. `loop` imports the framework and is imported late.
"""

from __future__ import annotations

from pathlib import Path

from cooperbench.agents.base import AgentResult, Assignment, Mailbox
from cooperbench.agents.mini_swe_agent.config import Config, read_config
from cooperbench.errors import AgentError, MissingExtra
from cooperbench.eval.backends.base import Sandbox
from cooperbench.quiet_import import quiet_minisweagent


class MiniSweAgent:
    """A loop of model and shell."""

    uses_gateway = True
    dialects = ("chat", "messages")

    def __init__(self) -> None:
        """Raises: MissingExtra: the framework is not installed."""
        from importlib.util import find_spec

        if find_spec("minisweagent") is None:
            raise MissingExtra("agent 'mini_swe_agent'", "mini-swe-agent")

    def check_config(self, path: Path | None) -> None:
        """Look at ``--agent-config`` before anything runs.

        Raises:
            UsageError: it is no configuration of this framework.
        """
        self._config(path)

    def run(self, assignment: Assignment, sandbox: Sandbox, mailbox: Mailbox) -> AgentResult:
        """Let the loop run until the agent submits or reaches a limit.

        Raises:
            AgentError: no line to a model.
        """
        if assignment.line is None:
            raise AgentError("agent 'mini_swe_agent' has no line to a model: it needs one, see --model")
        config = self._config(assignment.config)
        from cooperbench.agents.mini_swe_agent.loop import carry_out

        return carry_out(config, assignment, sandbox, mailbox)

    def _config(self, path: Path | None) -> Config:
        quiet_minisweagent()
        return read_config(path)
