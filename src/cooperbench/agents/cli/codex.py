"""Codex, OpenAI's agent for the command line."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from cooperbench.agents.base import ERROR, SUBMITTED
from cooperbench.agents.bridge import GATEWAY
from cooperbench.agents.cli.packages import Package
from cooperbench.agents.cli.program import CliAgent, Outcome, Work

_HOME = "/var/lib/cooperbench/codex"
_VENDOR = "@openai/codex-linux-*/vendor/*-linux-musl"


class Codex(CliAgent):
    """``codex exec``, printing its events as JSON."""

    name = "codex"
    package = Package(
        "@openai/codex",
        "0.169.0",
        {
            f"{_VENDOR}/bin/codex": "bin/codex",
            f"{_VENDOR}/codex-path": "codex-path",
            f"{_VENDOR}/codex-package.json": "codex-package.json",
        },
    )
    program = "bin/codex"
    dialects = ("responses",)

    def command(self, work: Work) -> list[str]:
        """Everything allowed: the sandbox is what holds it."""
        provider = {
            "name": "cooperbench",
            "base_url": f"{GATEWAY}/v1",
            "env_key": "OPENAI_API_KEY",
            "wire_api": "responses",
            "stream_idle_timeout_ms": 900_000,
        }
        settings: dict[str, Any] = {"model_provider": "cooperbench", "web_search": "disabled"}
        settings |= {f"model_providers.cooperbench.{key}": value for key, value in provider.items()}
        if work.assignment.means.mcp:
            settings |= {"mcp_servers.coop.command": "coop", "mcp_servers.coop.args": ["mcp"]}
        words = [word for key, value in settings.items() for word in ("-c", f"{key}={json.dumps(value)}")]
        free = ["--dangerously-bypass-approvals-and-sandbox", "--skip-git-repo-check"]
        return ["exec", "--json", *free, "-m", work.line.model, *words, work.prompt]

    def environment(self, work: Work) -> dict[str, str]:
        """Its settings and sessions in a place of its own."""
        return {"CODEX_HOME": _HOME, "OPENAI_API_KEY": work.line.token}

    def files(self, work: Work) -> dict[str, bytes]:
        """Its home must be there before it."""
        del work
        return {f"{_HOME}/.keep": b""}

    def end(self, events: Sequence[Mapping[str, Any]]) -> Outcome | None:
        """A turn that is completed is the end of the work; one that failed says why."""
        for event in reversed(events):
            if event.get("type") == "turn.completed":
                return Outcome(SUBMITTED)
            if event.get("type") in ("turn.failed", "error"):
                error = event.get("error")
                told = error.get("message") if isinstance(error, dict) else event.get("message")
                return Outcome(ERROR, str(told)[:500])
        return None

    def commands(self, event: Mapping[str, Any]) -> str | None:
        """What it ran in the shell, once it is over."""
        item = event.get("item")
        ended = isinstance(item, dict) and event.get("type") == "item.completed"
        return str(item["command"]) if ended and item and item.get("type") == "command_execution" else None
