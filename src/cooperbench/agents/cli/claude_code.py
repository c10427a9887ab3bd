"""Claude Code, Anthropic's agent for the command line."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from cooperbench.agents.base import ERROR, LIMITS_EXCEEDED, SUBMITTED
from cooperbench.agents.bridge import GATEWAY
from cooperbench.agents.cli.packages import Package
from cooperbench.agents.cli.program import CliAgent, Outcome, Work

_HOME = "/var/lib/cooperbench/claude"


class ClaudeCode(CliAgent):
    """``claude -p``, printing its events as JSON."""

    name = "claude_code"
    package = Package(
        "@anthropic-ai/claude-code", "2.1.197", {"@anthropic-ai/claude-code-linux-*/claude": "claude"}
    )
    program = "claude"
    dialects = ("messages",)

    def command(self, work: Work) -> list[str]:
        """Everything allowed: the sandbox is what holds it."""
        servers = {"mcpServers": {"coop": {"command": "coop", "args": ["mcp"]}}}
        mcp = (
            ["--strict-mcp-config", "--mcp-config", json.dumps(servers)] if work.assignment.means.mcp else []
        )
        words = ["--output-format", "stream-json", "--verbose", "--dangerously-skip-permissions", *mcp]
        return ["-p", work.prompt, "--model", work.line.model, *words]

    def environment(self, work: Work) -> dict[str, str]:
        """One model for everything, and no calls but those to it."""
        models = ("ANTHROPIC_MODEL", "ANTHROPIC_SMALL_FAST_MODEL", "ANTHROPIC_DEFAULT_HAIKU_MODEL")
        switches = ("DISABLE_AUTOUPDATER", "DISABLE_TELEMETRY", "DISABLE_ERROR_REPORTING", "IS_SANDBOX")
        return {
            **dict.fromkeys(models, work.line.model),
            **dict.fromkeys(switches, "1"),
            "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
            "CLAUDE_CONFIG_DIR": _HOME,
            "ANTHROPIC_BASE_URL": GATEWAY,
            "ANTHROPIC_API_KEY": work.line.token,
            "API_TIMEOUT_MS": "900000",
        }

    def end(self, events: Sequence[Mapping[str, Any]]) -> Outcome | None:
        """Its last event says."""
        last = next((event for event in reversed(events) if event.get("type") == "result"), None)
        if last is None:
            return None
        if last.get("subtype") == "error_max_turns":
            return Outcome(LIMITS_EXCEEDED, "over the turns it may take")
        if last.get("is_error"):
            return Outcome(ERROR, str(last.get("result") or last.get("subtype"))[:500])
        return Outcome(SUBMITTED)

    def commands(self, event: Mapping[str, Any]) -> str | None:
        """Those of its tool Bash."""
        message = event.get("message")
        content = message.get("content") if isinstance(message, dict) else None
        calls = [part for part in content if isinstance(part, dict)] if isinstance(content, list) else []
        found = [
            call["input"].get("command")
            for call in calls
            if call.get("name") == "Bash" and isinstance(call.get("input"), dict)
        ]
        return "\n".join(map(str, found)) or None
