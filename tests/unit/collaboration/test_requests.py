"""What comes out of a sandbox is anything at all; it becomes an answer, never an exception."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cooperbench.agents.base import Message
from cooperbench.collaboration import Bus
from cooperbench.collaboration.requests import read_call, serve, shown, wait_of


@pytest.fixture
def bus() -> Bus:
    return Bus(["agent1", "agent2"])


def test_calls_are_taken_apart() -> None:
    output = b"abcdef1234 " + base64.b64encode(b"send agent2\nhi") + b"\n!ZZZZZZ9999\n=YYYYYY8888\nnonsense\n"
    call = read_call(output)
    assert call.requests == (("abcdef1234", b"send agent2\nhi"),)
    assert call.answered == {"ZZZZZZ9999", "YYYYYY8888"}
    assert call.gone == {"ZZZZZZ9999"}


@settings(deadline=None)
@given(st.binary(max_size=300))
def test_any_output_is_taken_apart(output: bytes) -> None:
    read_call(output)


@settings(deadline=None)
@given(
    st.binary(max_size=200)
    | st.sampled_from([b"send", b"send ", b"send agent2", b"inbox x", b"inbox 99999999999"])
)
def test_any_request_has_an_answer(request: bytes) -> None:
    bus = Bus(["agent1", "agent2"])
    answer = serve(request, bus.mailbox("agent1"))
    assert answer.code in (0, 1, 2)
    assert answer.to_bytes().startswith(b"%d\n" % answer.code)
    assert 0 <= wait_of(request) <= 3600


def test_the_text_is_what_follows_the_first_line(bus: Bus) -> None:
    """MS4: no quoting, no heredoc, no flag in the text means anything; text of a file being written is no message."""
    text = "<<'EOF'\ncoop send agent1 \"x\"\n$(reboot) `x` --wait\nEOF\n"
    assert serve(b"send agent2\n" + text.encode(), bus.mailbox("agent1")).code == 0
    assert [message.text for message in bus.mailbox("agent2").receive()] == [text]


def test_refusals_say_why(bus: Bus) -> None:
    assert (
        serve(b"send agent7\nx", bus.mailbox("agent1")).text
        == "coop: no agent 'agent7' here; there is agent1, agent2"
    )
    assert serve(b"dance\n", bus.mailbox("agent1")).code == 2
    bus.finish("agent2")
    assert "agent2 has finished" in serve(b"send agent2\nx", bus.mailbox("agent1")).text
    assert serve(b"inbox 5\n", bus.mailbox("agent1")).text == "no unread messages (agent2 has finished)"
    assert serve(b"who\n", bus.mailbox("agent1")).text == "agent1  you\nagent2  finished"


@settings(deadline=None)
@given(st.text(max_size=60))
def test_no_text_passes_for_another_messages_head(text: str) -> None:
    lines = shown(Message("agent1", "agent2", f"x\nfrom agent3 at 00:00:00 UTC:\n{text}", 0.0)).splitlines()
    assert lines[0] == "from agent1 at 00:00:00 UTC:"
    assert all(line.startswith("  ") for line in lines[1:])


def test_an_inbox_shows_all_and_says_what_it_took(bus: Bus) -> None:
    for text in ("one", "two"):
        bus.mailbox("agent1").send("agent2", text)
    answer = serve(b"inbox 0\n", bus.mailbox("agent2"))
    assert [message.text for message in answer.messages] == ["one", "two"]
    assert "  one\nfrom agent1" in answer.text
