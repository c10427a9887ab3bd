"""What a trial leaves on disk, as plain JSON values: an agent's record, its trajectory, the conversation."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from cooperbench.agents.base import Assignment
from cooperbench.collaboration import Posting
from cooperbench.runner.seat import Work
from cooperbench.runner.teamwork import moment


def agent_record(assignment: Assignment, work: Work) -> dict[str, Any]:
    """One agent in ``result.json``. What is not known is null, never 0."""
    result = work.result
    return {
        "feature_id": _feature(assignment),
        "status": result.status,
        "cost": result.cost,
        "steps": result.steps,
        "input_tokens": result.input_tokens,
        "output_tokens": result.output_tokens,
        "cache_read_tokens": result.cache_read_tokens,
        "cache_write_tokens": result.cache_write_tokens,
        "patch_lines": work.taken.patch.count(b"\n"),
        "error": result.error or work.taken.problem,
        "seconds": round(work.seconds, 3),
        "left_out": list(work.taken.left_out),
        **({"team_role": assignment.role} if assignment.role else {}),
    }


def trajectory(assignment: Assignment, work: Work, model: str | None) -> dict[str, Any]:
    """What one agent did, as ``agentN_traj.json`` holds it."""
    return {
        "repo": assignment.repo,
        "task_id": assignment.task_id,
        "feature_id": _feature(assignment),
        "agent_id": assignment.agent_id,
        "model": model,
        "status": work.result.status,
        "cost": work.result.cost,
        "steps": work.result.steps,
        "messages": plain(work.result.messages),
    }


def conversation(postings: Iterable[Posting], features: Mapping[str, int]) -> list[dict[str, Any]]:
    """What was said, in the one order of the trial."""
    return [
        {
            "from": posting.message.sender,
            "to": posting.message.recipient,
            "message": posting.message.text,
            "timestamp": moment(posting.message.sent_at),
            "feature_id": features.get(posting.message.sender),
            "broadcast": posting.message.broadcast,
        }
        for posting in postings
    ]


def plain(messages: Any) -> list[Any]:
    """A transcript as JSON has it: a framework's objects must not cost the trial."""
    try:
        found = list(messages)
        text = json.dumps(found, default=repr, skipkeys=True) if found else "[]"
    except (TypeError, ValueError, RecursionError) as problem:
        return [{"error": f"the transcript cannot be written as JSON: {problem}"}]
    return list(json.loads(text, parse_constant=str))


def _feature(assignment: Assignment) -> int | list[int]:
    """One number in `coop`; `solo` builds them all."""
    return assignment.features[0] if assignment.setting != "solo" else list(assignment.features)
