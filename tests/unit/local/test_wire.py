"""Messages over a socket: round trips, and what hostile or broken ones do."""

from __future__ import annotations

import array
import json
import os
import socket
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cooperbench.eval.backends.local import launcher
from cooperbench.eval.backends.local.inside import wire

Ends = tuple[socket.socket, socket.socket]
steady = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(st.characters()),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
)


@pytest.fixture(name="ends")
def _ends() -> Iterator[Ends]:
    left, right = wire.pair()
    with left, right:
        yield left, right


@steady
@given(
    st.dictionaries(st.text(max_size=8), values, max_size=5).filter(
        lambda message: message != {"spilled": True}
    )
)
def test_messages_survive(ends: Ends, message: dict[str, object]) -> None:
    wire.send(ends[0], message)
    assert wire.receive(ends[1]) == (message, [])


def test_bytes_that_are_not_text_survive(ends: Ends) -> None:
    name = os.fsdecode(b"a\xff\xfe b")
    wire.send(ends[0], {"argv": [name]})
    message, _ = wire.receive(ends[1])
    assert message is not None
    assert os.fsencode(message["argv"][0]) == b"a\xff\xfe b"


def test_descriptors_travel(ends: Ends) -> None:
    read, write = os.pipe()
    wire.send(ends[0], {}, [write])
    os.close(write)
    _, (travelled,) = wire.receive(ends[1])
    assert not os.get_inheritable(travelled)
    os.write(travelled, b"x")
    os.close(travelled)
    assert os.read(read, 2) == b"x"
    os.close(read)


def test_long_messages_travel_in_memory(ends: Ends) -> None:
    message = {"argv": ["x" * 1000] * 2000}
    with open("/dev/null", "rb") as null:
        wire.send(ends[0], message, [null.fileno()])
    received, descriptors = wire.receive(ends[1], spilled=True)
    assert received == message
    assert len(descriptors) == 1
    wire.close_all(descriptors)


def test_a_long_message_is_refused_where_none_is_due(ends: Ends) -> None:
    before = len(os.listdir("/proc/self/fd"))
    wire.send(ends[0], {"x": "y" * 100_000})
    with pytest.raises(ValueError, match="unexpected long message"):
        wire.receive(ends[1])
    assert len(os.listdir("/proc/self/fd")) == before


def test_the_end_is_told(ends: Ends) -> None:
    ends[0].shutdown(socket.SHUT_WR)
    assert wire.receive(ends[1]) == (None, [])


@steady
@given(
    st.binary(min_size=1, max_size=300)
    | st.sampled_from([b"[1]", b"1", b'"x"', b"null", b"[" * 40_000, b"{}x"])
)
def test_any_bytes_are_a_message_or_an_error(ends: Ends, body: bytes) -> None:
    with open("/dev/null", "rb") as null:
        rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [null.fileno()]))]
        ends[0].sendmsg([body], rights)
    before = len(os.listdir("/proc/self/fd"))
    try:
        message, descriptors = wire.receive(ends[1])
    except ValueError:
        assert len(os.listdir("/proc/self/fd")) == before
    else:
        assert message == json.loads(body)
        wire.close_all(descriptors)


def test_a_message_cut_short_is_an_error(ends: Ends) -> None:
    ends[0].send(b" " * (wire.DATAGRAM + 10) + b"{}")
    with pytest.raises(ValueError, match="cut short"):
        wire.receive(ends[1])


@steady
@given(st.binary(max_size=6000) | values.map(lambda value: json.dumps(value).encode()))
def test_an_answer_is_an_object_or_nothing(body: bytes) -> None:
    read, write = os.pipe()
    os.write(write, body)
    os.close(write)
    answer = launcher.read_answer(read)
    assert isinstance(answer, dict)
    assert answer in ({}, _parsed(body))


def _parsed(body: bytes) -> object:
    try:
        return json.loads(body)
    except ValueError:
        return {}


def test_an_answer_that_never_comes_is_nothing() -> None:
    read, write = os.pipe()
    gone, end = os.pipe()
    os.close(end)
    assert launcher.read_answer(read, gone=gone) == {}
    os.close(gone)
    read_again, write_again = os.pipe()
    assert launcher.read_answer(read_again, until=0.0) == {}
    for descriptor in (write, write_again):
        os.close(descriptor)
