"""What a team's task list came to, as plain JSON values: ``tasks.json``, ``task_log.json`` and the metrics."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any

from cooperbench.agents.base import Todo
from cooperbench.collaboration import Entry


def task_records(tasks: Iterable[Todo]) -> list[dict[str, Any]]:
    """The list as it was at the end."""
    return [
        {
            "id": task.number,
            "title": task.title,
            "status": task.status,
            "owner": task.owner,
            "created_by": task.created_by,
            "created_at": moment(task.created_at),
            "claimed_at": moment(task.claimed_at),
            "done_at": moment(task.done_at),
            "remarks": list(task.remarks),
        }
        for task in tasks
    ]


def task_log(timeline: Iterable[Entry]) -> list[dict[str, Any]]:
    """Everything that was done to the list, in order."""
    return [
        {"timestamp": moment(entry.at), "agent": entry.agent, **entry.details}
        for entry in timeline
        if entry.kind == "task"
    ]


def metrics(tasks: Sequence[Todo], timeline: Sequence[Entry], agents: Iterable[str]) -> dict[str, Any]:
    """A team's figures; `time_to_first_claim_seconds` counts from the first agent's start, null without a claim."""
    done_to_list = [entry for entry in timeline if entry.kind == "task"]
    claims = [entry for entry in done_to_list if entry.details["action"] == "claim"]
    updates = [entry for entry in done_to_list if entry.details["action"] == "update"]
    starts = [entry.at for entry in timeline if entry.kind == "start"]
    first = round(claims[0].at - min(starts), 3) if claims and starts else None
    return {
        "tasks_total": len(tasks),
        "tasks_done": sum(task.status == "done" for task in tasks),
        "unowned_at_end": sum(task.owner is None for task in tasks),
        "time_to_first_claim_seconds": first,
        "claims_per_agent": {agent: sum(entry.agent == agent for entry in claims) for agent in agents},
        "updates_per_agent": {agent: sum(entry.agent == agent for entry in updates) for agent in agents},
    }


def moment(at: float | None) -> str | None:
    """A time as JSON has it; None for one that no calendar has."""
    try:
        return None if at is None else datetime.fromtimestamp(at, UTC).isoformat()
    except (ValueError, OverflowError):
        return None
