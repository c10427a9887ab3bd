"""The bus: nothing lost, nothing twice, one order for all."""

from __future__ import annotations

import threading
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cooperbench.collaboration import TEXT_LIMIT, Bus, BusMailbox, RecipientFinishedError, journal
from cooperbench.collaboration import bus as bus_module
from cooperbench.collaboration.turns import Turns
from cooperbench.errors import UsageError


def texts(messages) -> list[str]:
    return [message.text for message in messages]


def test_a_message_waits_for_who_has_not_started() -> None:
    """MS1: the slower agent cleared its inbox when it came, and with it what the faster one had sent."""
    bus = Bus(["agent1", "agent2"])
    BusMailbox(bus, "agent1").send("agent2", "early")
    late = BusMailbox(bus, "agent2")
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
        BusMailbox(bus, "agent1").send(recipient, "x")
    assert bus.journal() == ()


def test_waiting_waits_until_there_is_something() -> None:
    """MS3: --wait did nothing."""
    bus = Bus(["agent1", "agent2"])
    got: list[str] = []
    waiter = threading.Thread(target=lambda: got.extend(texts(BusMailbox(bus, "agent2").receive(wait=30))))
    waiter.start()
    time.sleep(0.05)
    assert not got
    BusMailbox(bus, "agent1").send("agent2", "now")
    waiter.join(10)
    assert got == ["now"]


def test_waiting_ends_when_nobody_is_left_to_write() -> None:
    bus = Bus(["agent1", "agent2", "agent3"])
    bus.finish("agent1")
    ended = threading.Event()
    waiter = threading.Thread(target=lambda: (BusMailbox(bus, "agent2").receive(wait=600), ended.set()))
    waiter.start()
    assert not ended.wait(0.05)
    bus.finish("agent3")
    assert ended.wait(10)
    waiter.join()
    assert BusMailbox(bus, "agent2").receive(wait=600) == []


def test_a_finished_agent_is_said_to_be_so() -> None:
    bus = Bus(["agent1", "agent2", "agent3"])
    BusMailbox(bus, "agent1").send("agent2", "before")
    bus.finish("agent2")
    with pytest.raises(RecipientFinishedError, match="agent2 has finished"):
        BusMailbox(bus, "agent1").send("agent2", "after")
    BusMailbox(bus, "agent1").broadcast("to who is left")
    assert texts(BusMailbox(bus, "agent3").receive()) == ["to who is left"]
    bus.finish("agent3")
    with pytest.raises(RecipientFinishedError, match="every teammate"):
        BusMailbox(bus, "agent1").broadcast("anybody?")


def test_the_journal_has_each_message_once_in_order() -> None:
    """MS5: duplicates, and no timestamps to order them by."""
    bus = Bus(["agent1", "agent2", "agent3"], turns=Turns(lambda: 100.0))  # a clock that stands still
    BusMailbox(bus, "agent1").broadcast("all")
    BusMailbox(bus, "agent2").send("agent1", "re")
    BusMailbox(bus, "agent1").receive()
    BusMailbox(bus, "agent2").receive()
    messages = [posting.message for posting in bus.journal()]
    assert [(m.sender, m.recipient, m.text, m.broadcast) for m in messages] == [
        ("agent1", "agent2", "all", True),
        ("agent1", "agent3", "all", True),
        ("agent2", "agent1", "re", False),
    ]
    assert 100.0 <= messages[0].sent_at == messages[1].sent_at < messages[2].sent_at < 100.001


def test_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    bus = Bus(["agent1", "agent2"])
    sender = BusMailbox(bus, "agent1")
    sender.send("agent2", "\u00e9" * (TEXT_LIMIT // 2))
    with pytest.raises(UsageError, match="65538 bytes"):
        sender.send("agent2", "\u00e9" * (TEXT_LIMIT // 2 + 1))
    monkeypatch.setattr(journal, "BUDGET", TEXT_LIMIT + 300)
    with pytest.raises(UsageError, match="has used up"):
        sender.send("agent2", "x" * TEXT_LIMIT)
    assert len(bus.journal()) == 1


def test_what_reached_nobody_is_unread_again() -> None:
    bus = Bus(["agent1", "agent2"])
    for text in ("a", "b"):
        BusMailbox(bus, "agent1").send("agent2", text)
    mailbox = BusMailbox(bus, "agent2")
    taken = mailbox.receive()
    BusMailbox(bus, "agent1").send("agent2", "c")
    mailbox.put_back(taken)
    assert texts(mailbox.receive()) == ["a", "b", "c"]
    assert len(bus.journal()) == 3


@settings(deadline=None)
@given(st.lists(st.text(max_size=20), max_size=10))
def test_text_is_never_changed(sent: list[str]) -> None:
    bus = Bus(["agent1", "agent2"])
    for text in sent:
        BusMailbox(bus, "agent1").send("agent2", text)
    assert texts(BusMailbox(bus, "agent2").receive()) == sent


def test_many_at_once_lose_nothing() -> None:
    names = [f"agent{n}" for n in range(1, 6)]
    bus = Bus(names)
    received: dict[str, list[str]] = {name: [] for name in names}

    def chat(name: str) -> None:
        mailbox = BusMailbox(bus, name)
        for n in range(50):
            mailbox.broadcast(f"{name} {n}")
            received[name] += texts(mailbox.receive())

    threads = [threading.Thread(target=chat, args=(name,)) for name in names]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for name in names:
        received[name] += texts(BusMailbox(bus, name).receive())
        assert len(received[name]) == len(set(received[name])) == 200
        for other in names:  # each sender's own order holds
            own = [int(text.split()[1]) for text in received[name] if text.startswith(f"{other} ")]
            assert own == sorted(own)
    assert len(bus.journal()) == 1000
    assert [entry.number for entry in bus.timeline()] == list(range(1, len(bus.timeline()) + 1))


def test_a_question_waits_for_its_answer_and_for_nothing_else() -> None:
    bus = Bus(["agent1", "agent2", "agent3"])
    asker, asked, third = (BusMailbox(bus, name) for name in bus.agents)
    asked.send("agent1", "of before the question")
    answers: list[str | None] = []

    def ask() -> None:
        answer = asker.ask("agent2", "which file?", 60)
        answers.append(answer.text if answer is not None else None)

    waiter = threading.Thread(target=ask)
    waiter.start()
    assert texts(asked.receive(60)) == ["which file?"]
    third.send("agent1", "not me")
    asked.broadcast("not to you alone")
    asked.send("agent1", "parser.py")
    waiter.join(60)
    assert answers == ["parser.py"]
    assert texts(asker.receive()) == ["of before the question", "not me", "not to you alone"]


def test_two_who_ask_each_other_do_not_wait_for_ever() -> None:
    bus = Bus(["agent1", "agent2"])
    answers: dict[str, str] = {}

    def ask(me: str, other: str) -> None:
        answer = BusMailbox(bus, me).ask(other, f"{me} asks", 60)
        answers[me] = answer.text if answer is not None else ""

    first = threading.Thread(target=ask, args=("agent1", "agent2"))
    second = threading.Thread(target=ask, args=("agent2", "agent1"))
    first.start()
    while not bus.journal():
        time.sleep(0.001)
    second.start()
    first.join(30)
    assert answers == {"agent1": "agent2 asks"}
    bus.finish("agent1")  # who was asked has left: the question ends too
    second.join(30)
    assert answers["agent2"] == ""


def test_a_question_without_an_answer() -> None:
    bus = Bus(["agent1", "agent2"])
    assert BusMailbox(bus, "agent1").ask("agent2", "?", 0) is None
    bus.finish("agent2")
    with pytest.raises(RecipientFinishedError):
        BusMailbox(bus, "agent1").ask("agent2", "?", 600)


def test_reading_the_same_for_ever_fills_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """A sandbox may say, over and over, that whoever asked has gone: its messages are unread again every time."""
    monkeypatch.setattr(bus_module, "READS", 3)
    bus = Bus(["agent1", "agent2"])
    BusMailbox(bus, "agent1").send("agent2", "x")
    mailbox = BusMailbox(bus, "agent2")
    for _ in range(10):
        mailbox.put_back(mailbox.receive())
    assert [entry.kind for entry in bus.timeline()] == ["message", "read", "read", "read"]
    assert texts(mailbox.receive()) == ["x"]
