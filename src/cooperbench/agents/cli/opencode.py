"""opencode, an agent for the command line that speaks OpenAI's chat."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from cooperbench.agents.base import ERROR, SUBMITTED
from cooperbench.agents.bridge import GATEWAY
from cooperbench.agents.cli.packages import Package
from cooperbench.agents.cli.program import CliAgent, Outcome, Work

_HOME = "/var/lib/cooperbench/opencode"


class OpenCode(CliAgent):
    """``opencode run``, printing its events as JSON."""

    name = "opencode"
    package = Package("opencode-ai", "1.18.33", {"opencode-linux-*64/bin/opencode": "opencode"})
    program = "opencode"
    dialects = ("chat",)

    def command(self, work: Work) -> list[str]:
        """One run to its end."""
        return ["run", "--format", "json", "-m", f"cooperbench/{work.line.model}", work.prompt]

    def environment(self, work: Work) -> dict[str, str]:
        """Its settings: one provider, one model for everything, all allowed; the sandbox is what holds it."""
        model = f"cooperbench/{work.line.model}"
        provider = {
            "npm": "@ai-sdk/openai-compatible",  # comes with the program
            "name": "cooperbench",
            "options": {"baseURL": f"{GATEWAY}/v1", "apiKey": work.line.token},
            "models": {work.line.model: {"name": work.line.model}},
        }
        settings: dict[str, Any] = {
            "autoupdate": False,
            "share": "disabled",
            "permission": "allow",
            "provider": {"cooperbench": provider},
            "model": model,
            "small_model": model,
        }
        if work.assignment.means.mcp:
            settings["mcp"] = {"coop": {"type": "local", "command": ["coop", "mcp"]}}
        switches = ("AUTOUPDATE", "MODELS_FETCH", "LSP_DOWNLOAD", "DEFAULT_PLUGINS")
        return {
            **{f"OPENCODE_DISABLE_{switch}": "1" for switch in switches},
            "OPENCODE_CONFIG_CONTENT": json.dumps(settings),
            "XDG_DATA_HOME": _HOME,
            "XDG_STATE_HOME": _HOME,
        }

    def end(self, events: Sequence[Mapping[str, Any]]) -> Outcome | None:
        """A step that stopped by itself is the last; an error says what it was."""
        for event in reversed(events):
            part = event.get("part")
            if event.get("type") == "error":
                return Outcome(ERROR, json.dumps(event.get("error"))[:500])
            if event.get("type") == "step_finish" and isinstance(part, dict) and part.get("reason") == "stop":
                return Outcome(SUBMITTED)
        return None

    def commands(self, event: Mapping[str, Any]) -> str | None:
        """Those of its tool bash."""
        part = event.get("part")
        if event.get("type") != "tool_use" or not isinstance(part, dict) or part.get("tool") != "bash":
            return None
        state = part.get("state")
        given = state.get("input") if isinstance(state, dict) else None
        return str(given.get("command")) if isinstance(given, dict) else None
