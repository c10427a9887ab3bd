"""One trial in the order it happened: what went over the bus, and what each agent's transcript says, merged."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from cooperbench.collaboration import Entry
from cooperbench.runner.records import plain
from cooperbench.runner.teamwork import moment


def timeline(entries: Sequence[Entry], transcripts: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Every event, oldest first: ``timestamp``, ``agent``, ``kind``, and ``details`` or ``entry``.

    Bus entries have their own kinds. An entry of a transcript is a `command` if it has one, else a `step`, kept as the
    framework words it. One without a time of its own has that of the agent's entry before (``inferred`` is true).
    """
    begun = {entry.agent: entry.at for entry in reversed(entries)}
    found = [(entry.at, _of_bus(entry)) for entry in entries]
    for agent, transcript in transcripts.items():
        found += _of_transcript(agent, plain(transcript), begun.get(agent))
    return [event for _, event in sorted(found, key=lambda item: item[0])]


def _of_bus(entry: Entry) -> dict[str, Any]:
    return {
        "timestamp": moment(entry.at),
        "agent": entry.agent,
        "kind": entry.kind,
        "details": dict(entry.details),
    }


def _of_transcript(
    agent: str, transcript: Sequence[Any], begun: float | None
) -> Iterator[tuple[float, dict[str, Any]]]:
    at = begun if begun is not None else _first(transcript)
    for entry in transcript:
        own = seconds(entry.get("timestamp")) if isinstance(entry, Mapping) else None
        at = own if own is not None else at
        is_command = isinstance(entry, Mapping) and isinstance(entry.get("command"), str)
        event = {
            "timestamp": moment(at) if at else None,
            "agent": agent,
            "kind": "command" if is_command else "step",
            **({} if own is not None else {"inferred": True}),
            "entry": entry,
        }
        yield at or 0.0, event


def _first(transcript: Sequence[Any]) -> float | None:
    times = (seconds(entry.get("timestamp")) for entry in transcript if isinstance(entry, Mapping))
    return next((at for at in times if at is not None), None)


def seconds(value: Any) -> float | None:
    """A transcript's time as seconds since the epoch: it may be that already, or ISO 8601; None for anything else."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return float(value) if math.isfinite(value) and 0 <= value < 1e11 else None
    try:
        at = datetime.fromisoformat(value)
    except (TypeError, ValueError):
        return None
    return (at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp()
