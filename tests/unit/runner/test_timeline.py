"""One order for what went over the bus and what agents did between; a replay has the recording's."""

from __future__ import annotations

import json
from typing import Any

import pytest

from cooperbench.collaboration import Bus, BusMailbox
from cooperbench.collaboration.turns import Turns
from cooperbench.runner.timeline import moments_of, timeline


def bus_at(*moments: float) -> Bus:
    """agent1 starts, sends; agent2 reads; at these moments."""
    bus = Bus(["agent1", "agent2"], turns=Turns(iter(moments).__next__))
    bus.start("agent1")
    BusMailbox(bus, "agent1").send("agent2", "hello")
    BusMailbox(bus, "agent2").receive()
    return bus


def told(events: list[dict[str, Any]]) -> list[tuple[str, str, str]]:
    return [(event["timestamp"][17:26], event["agent"], event["kind"]) for event in events]


WORK = [
    {"role": "assistant", "timestamp": 11.0},
    {"command": "coop send"},
    {"role": "tool", "timestamp": 13.5},
]


def test_bus_and_transcripts_are_merged_by_time() -> None:
    events = timeline(bus_at(10, 12, 13).timeline(), {"agent1": WORK, "agent2": "nonsense"})
    assert told([event for event in events if event["agent"] == "agent1" or event["kind"] == "read"]) == [
        ("10+00:00", "agent1", "start"),
        ("11+00:00", "agent1", "step"),
        ("11+00:00", "agent1", "command"),
        ("12+00:00", "agent1", "message"),
        ("13+00:00", "agent2", "read"),
        ("13.500000", "agent1", "step"),
    ]
    assert [event.get("inferred", False) for event in events if event["kind"] == "command"] == [True]


@pytest.mark.parametrize(
    "stamp",
    [
        *(10**400, -(10**400), float("inf"), float("nan"), -1.0, 1e300, True, "", b"x", [], {}),
        *(
            f"{day}T23:59:59{zone}"
            for day in ("0001-01-01", "9999-12-31")
            for zone in ("", "-14:00", "+23:59")
        ),
    ],
    ids=lambda stamp: repr(stamp)[:20],
)
def test_what_no_calendar_has_is_no_time(stamp: Any) -> None:
    """A transcript comes out of a sandbox; whatever it says, the agent's work is kept."""
    events = timeline(bus_at(10, 12, 13).timeline(), {"agent1": [{"timestamp": stamp}, *WORK]})
    assert sum(event["kind"] == "step" for event in events) == 3
    moved = moments_of([{"agent": "agent1", "entry": 1, "timestamp": stamp}])
    assert timeline(bus_at(10, 12, 13).timeline(), {"agent1": [{"timestamp": 9e10}, *WORK]}, moved)


def test_a_replay_has_the_moments_of_its_recording() -> None:
    """Its bus does; the frameworks' own clocks say when it was repeated, which is after everything recorded."""
    first = timeline(bus_at(10, 12, 13).timeline(), {"agent1": WORK})
    written = [json.loads(json.dumps(event)) for event in first]
    later = [
        {**entry, **({"timestamp": entry["timestamp"] + 5000} if "timestamp" in entry else {})}
        for entry in WORK
    ]
    again = timeline(bus_at(10, 12, 13).timeline(), {"agent1": later}, moments_of(written))
    assert told(again) == told(first)
    more = [*later, {"role": "user", "timestamp": 5014.0}]
    assert told(timeline(bus_at(10, 12, 13).timeline(), {"agent1": more}, moments_of(written)))[-1] == (
        "14+00:00",
        "agent1",
        "step",
    )
    assert moments_of([]) == {}
