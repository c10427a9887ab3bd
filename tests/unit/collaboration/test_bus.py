"""The bus: nothing lost, nothing twice, one order for all."""

from __future__ import annotations

import threading
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cooperbench.collaboration import MESSAGE_LIMIT, Bus, RecipientFinishedError
from cooperbench.collaboration import bus as bus_module
from cooperbench.errors import UsageError


def texts(messages) -> list[str]:
    return [message.text for message in messages]


def test_a_message_waits_for_who_has_not_started() -> None:
    """MS1: the slower agent cleared its inbox when it came, and with it what the faster one had sent."""
    bus = Bus(["agent1", "agent2"])
    bus.mailbox("agent1").send("agent2", "early")
    late = bus.mailbox("agent2")
    assert texts(late.receive()) == ["early"]
    assert late.receive() == []


@pytest.mark.parametrize(
    ("recipient", "said"),
    [("agent3", "no agent 'agent3'.*agent1, agent2"), ("agent1", "yourself")],
)
def test_a_recipient_that_cannot_be(recipient: str, said: str) -> None:
    """MS2: accepted silently, read by nobody."""
    bus = Bus(["agent1", "agent2"])
    with pytest.raises(UsageError, match=said):
        bus.mailbox("agent1").send(recipient, "x")
    assert bus.journal() == ()


def test_waiting_waits_until_there_is_something() -> None:
    """MS3: --wait did nothing."""
    bus = Bus(["agent1", "agent2"])
    got: list[str] = []
    waiter = threading.Thread(target=lambda: got.extend(texts(bus.mailbox("agent2").receive(wait=30))))
    waiter.start()
    time.sleep(0.05)
    assert not got
    bus.mailbox("agent1").send("agent2", "now")
    waiter.join(10)
    assert got == ["now"]


def test_waiting_ends_when_nobody_is_left_to_write() -> None:
    bus = Bus(["agent1", "agent2", "agent3"])
    bus.finish("agent1")
    ended = threading.Event()
    waiter = threading.Thread(target=lambda: (bus.mailbox("agent2").receive(wait=600), ended.set()))
    waiter.start()
    assert not ended.wait(0.05)
    bus.finish("agent3")
    assert ended.wait(10)
    waiter.join()
    assert bus.mailbox("agent2").receive(wait=600) == []


def test_a_finished_agent_is_said_to_be_so() -> None:
    bus = Bus(["agent1", "agent2", "agent3"])
    bus.mailbox("agent1").send("agent2", "before")
    bus.finish("agent2")
    with pytest.raises(RecipientFinishedError, match="agent2 has finished"):
        bus.mailbox("agent1").send("agent2", "after")
    bus.mailbox("agent1").broadcast("to who is left")
    assert texts(bus.mailbox("agent3").receive()) == ["to who is left"]
    bus.finish("agent3")
    with pytest.raises(RecipientFinishedError, match="every teammate"):
        bus.mailbox("agent1").broadcast("anybody?")


def test_the_journal_has_each_message_once_in_order() -> None:
    """MS5: duplicates, and no timestamps to order them by."""
    clock = iter(range(100))
    bus = Bus(["agent1", "agent2", "agent3"], clock=lambda: float(next(clock)))
    bus.mailbox("agent1").broadcast("all")
    bus.mailbox("agent2").send("agent1", "re")
    bus.mailbox("agent1").receive()
    bus.mailbox("agent2").receive()
    messages = [posting.message for posting in bus.journal()]
    entries = [(n, m.sender, m.recipient, m.text, m.sent_at) for n, m in enumerate(messages, 1)]
    assert entries == [
        (1, "agent1", "agent2", "all", 0.0),
        (2, "agent1", "agent3", "all", 1.0),
        (3, "agent2", "agent1", "re", 2.0),
    ]


def test_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    bus = Bus(["agent1", "agent2"])
    sender = bus.mailbox("agent1")
    sender.send("agent2", "\u00e9" * (MESSAGE_LIMIT // 2))
    with pytest.raises(UsageError, match="65538 bytes"):
        sender.send("agent2", "\u00e9" * (MESSAGE_LIMIT // 2 + 1))
    monkeypatch.setattr(bus_module, "BUDGET", MESSAGE_LIMIT + 300)
    with pytest.raises(UsageError, match="has sent all"):
        sender.send("agent2", "x" * MESSAGE_LIMIT)
    assert len(bus.journal()) == 1


def test_what_reached_nobody_is_unread_again() -> None:
    bus = Bus(["agent1", "agent2"])
    for text in ("a", "b"):
        bus.mailbox("agent1").send("agent2", text)
    mailbox = bus.mailbox("agent2")
    taken = mailbox.receive()
    bus.mailbox("agent1").send("agent2", "c")
    mailbox.put_back(taken)
    assert texts(mailbox.receive()) == ["a", "b", "c"]
    assert len(bus.journal()) == 3


@settings(deadline=None)
@given(st.lists(st.text(max_size=20), max_size=10))
def test_text_is_never_changed(sent: list[str]) -> None:
    bus = Bus(["agent1", "agent2"])
    for text in sent:
        bus.mailbox("agent1").send("agent2", text)
    assert texts(bus.mailbox("agent2").receive()) == sent


def test_many_at_once_lose_nothing() -> None:
    names = [f"agent{n}" for n in range(1, 6)]
    bus = Bus(names)
    received: dict[str, list[str]] = {name: [] for name in names}

    def chat(name: str) -> None:
        mailbox = bus.mailbox(name)
        for n in range(50):
            mailbox.broadcast(f"{name} {n}")
            received[name] += texts(mailbox.receive())

    threads = [threading.Thread(target=chat, args=(name,)) for name in names]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for name in names:
        received[name] += texts(bus.mailbox(name).receive())
        assert len(received[name]) == len(set(received[name])) == 200
        for other in names:  # each sender's own order holds
            own = [int(text.split()[1]) for text in received[name] if text.startswith(f"{other} ")]
            assert own == sorted(own)
    assert [posting.number for posting in bus.journal()] == list(range(1, 1001))
