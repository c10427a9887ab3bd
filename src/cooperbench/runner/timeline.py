"""One trial in the order it happened: what went over the bus, and what each agent's transcript says, merged."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from cooperbench.collaboration import Entry
from cooperbench.runner.records import plain
from cooperbench.runner.teamwork import moment

Moments = Mapping[str, Sequence[float | None]]
"""By agent: when each entry of its transcript was, in seconds since the epoch; None where nothing says."""


def timeline(
    entries: Sequence[Entry], transcripts: Mapping[str, Any], recorded: Moments | None = None
) -> list[dict[str, Any]]:
    """Every event, oldest first: ``timestamp``, ``agent``, ``kind``, and ``details`` or ``entry``.

    Bus entries have their own kinds. An entry of a transcript is a `command` if it has one, else a `step`, kept as the
    framework words it. One without a time of its own has that of the agent's entry before (``inferred`` is true).

    Args:
        recorded: in a replay, whose bus has the moments of the recording, those of the transcripts' entries; an agent
            that has more entries than were recorded keeps its distance from the last.
    """
    begun = {entry.agent: entry.at for entry in reversed(entries)}
    found = [(entry.at, _of_bus(entry)) for entry in entries]
    for agent, transcript in transcripts.items():
        moments = (recorded or {}).get(agent, ())
        found += _of_transcript(agent, plain(transcript), begun.get(agent), moments)
    # As exact as it is written: a replay reads it from there, and must come to the same order.
    return [event for _, event in sorted(found, key=lambda item: round(item[0], 6))]


def moments_of(events: Iterable[Mapping[str, Any]]) -> Moments:
    """When the entries of each agent's transcript were, as a written timeline has it."""
    found: dict[str, list[float | None]] = {}
    for event in events:
        if "entry" in event:
            found.setdefault(str(event.get("agent")), []).append(seconds(event.get("timestamp")))
    return found


def _of_bus(entry: Entry) -> dict[str, Any]:
    return {
        "timestamp": moment(entry.at),
        "agent": entry.agent,
        "kind": entry.kind,
        "details": dict(entry.details),
    }


def _of_transcript(
    agent: str, transcript: Sequence[Any], begun: float | None, recorded: Sequence[float | None]
) -> Iterator[tuple[float, dict[str, Any]]]:
    at = begun if begun is not None else _first(transcript)
    shift = 0.0
    for number, entry in enumerate(transcript):
        own = seconds(entry.get("timestamp")) if isinstance(entry, Mapping) else None
        then = recorded[number] if number < len(recorded) else None
        if then is not None:
            shift = then - own if own is not None else shift
            at = then
        else:
            at = own + shift if own is not None else at
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


_END = 1e11
"""No time is later: a number beyond is none, whoever wrote it."""


def seconds(value: Any) -> float | None:
    """A transcript's time as seconds since the epoch: it may be that already, or ISO 8601; None for anything else."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return float(value) if 0 <= value < _END else None
    try:
        at = datetime.fromisoformat(value)
        found = (at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp()
    except (TypeError, ValueError, OverflowError):
        return None
    return found if 0 <= found < _END else None
