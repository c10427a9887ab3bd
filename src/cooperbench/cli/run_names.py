"""The name of a run whose user gave none: it says what was run."""

from __future__ import annotations

import re

_SHORT = {
    "mini_swe_agent_v2": "msa_v2",
    "swe_agent": "sw",
    "openhands_sdk": "oh",
    "claude_code": "cc",
    "codex": "cx",
}
"""Short forms scripts rely on; any other agent goes by its whole name."""


def run_name(
    setting: str,
    agent: str,
    model: str | None = None,
    subset: str | None = None,
    repo: str | None = None,
    task_id: int | None = None,
    *,
    git: bool = False,
) -> str:
    """``<setting>-<agent>[-git][-<model>][-<subset>][-<repo>][-<task>]``, fit to be a directory's name."""
    parts = [setting, _SHORT.get(agent, tidy(agent.rpartition(":")[2]))]
    parts += ["git"] if git else []
    parts += [_model(model)] if model else []
    parts += [tidy(subset)] if subset else []
    parts += [tidy(repo.removesuffix("_task").replace("_", "-"))] if repo else []
    parts += [str(task_id)] if task_id is not None else []
    return "-".join(part for part in parts if part)


def _model(name: str) -> str:
    short = name.rpartition("/")[2]
    for ending in ("-preview", "-latest", "-turbo"):
        short = short.removesuffix(ending)
    return re.sub(r"[^a-z0-9]+", "-", short.lower()).strip("-")


def tidy(text: str) -> str:
    """The text with whatever does not belong into a directory's name replaced."""
    return re.sub(r"[^A-Za-z0-9_.]+", "-", text).strip("-.")
