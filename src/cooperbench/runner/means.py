"""What the agents of a run have to work together with: by setting, by flags, and what an ablation takes away."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import cache

from cooperbench.agents.base import Means
from cooperbench.errors import UsageError

SWITCHES: Mapping[str, str] = {
    "task-list": "tasks",
    "scratchpad": "notes",
    "mcp": "mcp",
    "auto-refresh": "refresh",
    "protocol": "ask",
}
"""What `team` can do without, as flags call it → the field of `Means`."""


@cache
def means_of(setting: str, messaging: bool, git: bool, team_without: tuple[str, ...] = ()) -> Means:
    """The means of a setting.

    Raises:
        UsageError: something to do without that does not exist, or in another setting than `team`.
    """
    unknown = [name for name in team_without if name not in SWITCHES]
    if unknown:
        raise UsageError(f"team_without={unknown[0]!r}: there are {', '.join(SWITCHES)}")
    if team_without and setting != "team":
        raise UsageError(f"{team_without[0]} is a part of setting 'team', this run's is {setting!r}")
    if setting == "solo":
        return Means()
    team = setting == "team"
    full = Means(
        messages=messaging,
        ask=messaging,
        tasks=team,
        notes=team,
        git=git,
        mcp=messaging or git or team,
        refresh=messaging or team,
    )
    return replace(full, **{SWITCHES[name]: False for name in team_without})
