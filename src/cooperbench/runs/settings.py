"""Whether two invocations under one run name belong to the same experiment."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

DEFINING = (
    "agent_framework",
    "model",
    "setting",
    "backend",
    "agent_config",
    "messaging_enabled",
    "git_enabled",
    "team_without",
    "agent_timeout",
    "base_url",
    "prompts",
    "replay",
    "test_timeout",
    "rules",
    "independent",
)
"""Keys of ``config.json`` that must not change within a run. Others (concurrency, selection…) may."""


def differences(recorded: Mapping[str, Any], wanted: Mapping[str, Any]) -> list[str]:
    """One line for each defining setting that is not what the run was started with.

    A setting the record does not hold (it is of an older release) is not compared.
    """
    lines: list[str] = []
    for key in DEFINING:
        if key in recorded and key in wanted and _plain(recorded[key]) != _plain(wanted[key]):
            lines.append(f"{key} was {_plain(recorded[key])!r}, is now {_plain(wanted[key])!r}")
    return lines


def _plain(value: Any) -> Any:
    """A configuration file or directory is its contents, not its place."""
    if isinstance(value, Mapping) and "sha256" in value:
        return value["sha256"]
    return value
