"""The harness's half of the bridge reads whatever a sandbox sends it."""

from __future__ import annotations

import base64
import json

from hypothesis import given
from hypothesis import strategies as st

from cooperbench.agents.bridge import answered, packed, read_requests
from cooperbench.agents.cli.program import read_events
from cooperbench.budget import Budget
from cooperbench.gateway import Gateway, ModelAccess, Reply


def printed(name: str, content: bytes) -> bytes:
    return name.encode() + b" " + base64.b64encode(content) + b"\n"


def test_whole_lines_are_requests_and_half_a_line_is_none() -> None:
    whole = printed("1", b"one") + printed("22", b"two")
    assert read_requests(whole) == [("1", b"one"), ("22", b"two")]
    assert read_requests(whole[:-5]) == [("1", b"one")]
    assert read_requests(b"../x " + base64.b64encode(b"y") + b"\n3 ???\n") == []


@given(st.binary(max_size=300))
def test_any_bytes_are_read(content: bytes) -> None:
    assert isinstance(read_requests(content), list)
    for moment, event in read_events(content):
        assert isinstance(moment, float)
        json.dumps(event)


@given(st.binary(max_size=300))
def test_any_request_has_an_answer(content: bytes) -> None:
    gateway = Gateway(ModelAccess("hosted", "http://127.0.0.1:9"))
    line = gateway.line("agent1", Budget(trial=1e-9).purse())
    line.close()
    assert answered(line, content).status == 401


def test_a_reply_cannot_add_lines_to_its_head() -> None:
    assert packed(Reply(200, "text/event-stream\n500 x", b"a\nb")) == b"200 text/event-stream 500 x\na\nb"


def test_what_a_program_prints_has_its_moment() -> None:
    events = list(read_events(b'[cut]\n12.500 {"type": "x"}\n13.000 plain words\n14.0 \n'))
    assert events == [(12.5, {"type": "x"}), (13.0, {"type": "text", "text": "plain words"})]
