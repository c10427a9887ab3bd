"""Gemini CLI, Google's agent for the command line."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from cooperbench.agents.base import ERROR, LIMITS_EXCEEDED, SUBMITTED
from cooperbench.agents.bridge import GATEWAY
from cooperbench.agents.cli.packages import Package
from cooperbench.agents.cli.program import CliAgent, Outcome, Work

_HOME = "/var/lib/cooperbench/gemini"
_LAUNCHER = """\
#!/bin/sh
here=${0%/*}
exec "$here/node" "$here/bundle/gemini.js" "$@"
"""


class GeminiCli(CliAgent):
    """``gemini --prompt``, printing its events as JSON; on a Node of its own, as it is JavaScript."""

    name = "gemini_cli"
    package = Package(
        "@google/gemini-cli",
        "0.61.0",
        {"@google/gemini-cli/bundle": "bundle", "node-linux-*/bin/node": "node"},
        needs="node-linux-{cpu}@24.21.0",
        launcher=("gemini", _LAUNCHER),
    )
    program = "gemini"
    dialects = ("generate",)

    def command(self, work: Work) -> list[str]:
        """Everything allowed: the sandbox is what holds it."""
        words = ["--output-format", "stream-json", "--approval-mode", "yolo", "-m", work.line.model]
        return [f"--prompt={work.prompt}", *words]

    def environment(self, work: Work) -> dict[str, str]:
        """Its settings in a place of its own; one process, not one that starts another."""
        return {
            "GEMINI_CLI_HOME": _HOME,
            "GEMINI_CLI_NO_RELAUNCH": "1",
            "GEMINI_CLI_TRUST_WORKSPACE": "true",
            "GOOGLE_GEMINI_BASE_URL": GATEWAY,
            "GEMINI_API_KEY": work.line.token,
        }

    def files(self, work: Work) -> dict[str, bytes]:
        """Its settings: no calls but those to its model, no tools that search the web there."""
        settings: dict[str, Any] = {
            "security": {"auth": {"selectedType": "gemini-api-key"}},
            "general": {"enableAutoUpdate": False, "enableAutoUpdateNotification": False},
            "privacy": {"usageStatisticsEnabled": False},
            "tools": {"exclude": ["google_web_search", "web_fetch"]},
            # A specification's `@name` is text, not a file to look for.
            "context": {"fileFiltering": {"enableRecursiveFileSearch": False}},
            # It tells of those it brings itself in whatever order they were read, which no replay can repeat.
            "skills": {"disabled": ["antigravity-support", "skill-creator"]},
        }
        if work.assignment.means.mcp:
            settings["mcpServers"] = {"coop": {"command": "coop", "args": ["mcp"], "trust": True}}
        return {f"{_HOME}/.gemini/settings.json": json.dumps(settings).encode()}

    def end(self, events: Sequence[Mapping[str, Any]]) -> Outcome | None:
        """Its last event says."""
        last = next((event for event in reversed(events) if event.get("type") == "result"), None)
        if last is None:
            return None
        if last.get("status") == "success":
            return Outcome(SUBMITTED)
        error = last.get("error")
        told = error if isinstance(error, dict) else {}
        status = LIMITS_EXCEEDED if told.get("type") == "FatalTurnLimitedError" else ERROR
        return Outcome(status, str(told.get("message") or last.get("status"))[:500])

    def commands(self, event: Mapping[str, Any]) -> str | None:
        """Those of its tool run_shell_command."""
        given = event.get("parameters")
        if event.get("tool_name") != "run_shell_command" or not isinstance(given, dict):
            return None
        return str(given.get("command"))
