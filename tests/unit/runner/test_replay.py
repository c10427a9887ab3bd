"""The order of the bus, written down and repeated."""

from __future__ import annotations

import json
import threading
from typing import Any

from cooperbench.collaboration import Bus, BusMailbox
from cooperbench.runner.replay import RecordedTurns, RecordingTurns

AGENTS = ("agent1", "agent2")


def recorded() -> tuple[list[Any], list[list[str]]]:
    """agent2 looks too early, agent1 sends, agent2 looks again."""
    turns: list[Any] = []
    bus = Bus(AGENTS, turns=RecordingTurns(turns.append))
    one, two = (BusMailbox(bus, agent) for agent in AGENTS)
    read = [[message.text for message in two.receive()]]
    one.send("agent2", "hello")
    read.append([message.text for message in two.receive()])
    return json.loads(json.dumps(turns)), read


def test_what_was_read_too_early_is_read_too_early_again() -> None:
    turns, read = recorded()
    bus = Bus(AGENTS, turns=RecordedTurns(turns))
    one, two = (BusMailbox(bus, agent) for agent in AGENTS)
    # This time agent1 is the faster one; its message waits for its turn all the same.
    sent = threading.Thread(target=one.send, args=("agent2", "hello"))
    sent.start()
    again = [[message.text for message in two.receive()]]
    sent.join()
    messages = two.receive()
    again.append([message.text for message in messages])
    assert again == read == [[], ["hello"]]
    (sending,) = (turn for turn in turns if turn["agent"] == "agent1")
    assert messages[0].sent_at == sending["at"]


def test_what_does_not_come_ends_the_recorded_order() -> None:
    turns, _ = recorded()
    bus = Bus(AGENTS, turns=RecordedTurns(turns, patience=0.05))
    one, two = (BusMailbox(bus, agent) for agent in AGENTS)
    one.send("agent2", "hello")  # agent2 has not looked
    assert [message.text for message in two.receive()] == ["hello"]


def test_after_its_end_it_goes_on_as_it_comes() -> None:
    bus = Bus(AGENTS, turns=RecordedTurns([]))
    BusMailbox(bus, "agent1").send("agent2", "hello")
    assert BusMailbox(bus, "agent2").receive()
