"""What passes the gateway, against a real server on the loopback."""

from __future__ import annotations

import http.client
import json
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from cooperbench.budget import Budget
from cooperbench.errors import MissingExtra, UsageError
from cooperbench.gateway import Gateway, Line, ModelAccess
from cooperbench.gateway.recording import Recorded, masked
from cooperbench.gateway.upstream import open_source
from tests.loopback.models import KEY, ModelServer, Script

HEADERS = ("Authorization", "X-Api-Key", "x-goog-api-key")
SCRIPT = Script({"agent1": ["ls", "pwd"]})
PRICE = {"input_cost_per_token": 1e-6, "output_cost_per_token": 2e-6, "cache_read_input_token_cost": 1e-7}
FIRST = 1000 * 1e-6 + 10 * 2e-6
SECOND = 460 * 1e-6 + 640 * 1e-7 + 11 * 2e-6


@pytest.fixture(name="server")
def _server(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModelServer]:
    monkeypatch.setenv("LOOPBACK_KEY", KEY)
    with ModelServer(SCRIPT) as server:
        yield server


@pytest.fixture(name="gateway")
def _gateway(server: ModelServer, tmp_path: Path) -> Iterator[Gateway]:
    prices = tmp_path / "prices.json"
    prices.write_text(json.dumps({"scripted": PRICE}))
    gateway = Gateway(ModelAccess("openai/scripted", server.url, "LOOPBACK_KEY", prices))
    yield gateway
    gateway.close()


def chat(results: int = 0, **more: Any) -> bytes:
    turns = [{"role": "tool", "content": "done", "tool_call_id": "x"}] * results
    tool = {"type": "function", "function": {"name": "bash", "parameters": {}}}
    messages = [{"role": "user", "content": "You are agent1."}, *turns]
    return json.dumps({"model": "any", "messages": messages, "tools": [tool], **more}).encode()


def ask(line: Line, body: bytes, path: str = "/v1/chat/completions") -> tuple[int, Any]:
    reply = line.answer(path, body)
    return reply.status, json.loads(reply.body)


def test_the_run_chooses_the_model_and_the_harness_has_the_key(gateway: Gateway, server: ModelServer) -> None:
    line = gateway.line("agent1", Budget().purse())
    status, said = ask(line, chat())
    assert status == 200
    assert said["choices"][0]["message"]["tool_calls"][0]["function"]["arguments"] == '{"command": "ls"}'
    assert server.bodies[0]["model"] == "scripted"
    assert KEY not in line.token


def test_figures_are_right_to_the_unit(gateway: Gateway) -> None:
    budget = Budget()
    line = gateway.line("agent1", budget.purse())
    ask(line, chat())
    assert line.last_cost == pytest.approx(FIRST, abs=1e-12)
    assert line.answer("/chat/completions", chat(1, stream=True)).kind == "text/event-stream"
    figures = line.figures()
    assert (figures.calls, figures.input_tokens, figures.output_tokens) == (2, 2100, 21)
    assert (figures.cache_read_tokens, figures.cache_write_tokens) == (640, 0)
    assert figures.cost == pytest.approx(FIRST + SECOND, abs=1e-12)
    assert budget.spent == figures.cost


def test_geminis_protocol_names_the_model_in_its_path(gateway: Gateway, server: ModelServer) -> None:
    line = gateway.line("agent1", Budget().purse())
    tool = {"functionDeclarations": [{"name": "bash"}]}
    asked = {"contents": [{"role": "user", "parts": [{"text": "You are agent1."}]}], "tools": [tool]}
    status, said = ask(line, json.dumps(asked).encode(), "/v1beta/models/any/name:8b:generateContent")
    assert (status, said["modelVersion"]) == (200, "scripted")
    assert said["candidates"][0]["content"]["parts"][1]["functionCall"]["args"]["command"] == "ls"
    asked["contents"].append({"role": "user", "parts": [{"functionResponse": {"name": "bash"}}]})
    reply = line.answer("/v1beta/models/x:streamGenerateContent?alt=sse", json.dumps(asked).encode())
    assert (reply.status, reply.kind) == (200, "text/event-stream")
    assert b'"command": "pwd"' in reply.body
    figures = line.figures()
    assert (figures.input_tokens, figures.output_tokens, figures.cache_read_tokens) == (2100, 21, 640)
    assert figures.cost == pytest.approx(FIRST + SECOND, abs=1e-12)
    assert server.bodies == [{**asked, "contents": asked["contents"][:1]}, asked]


def test_one_unknown_cost_makes_the_sum_unknown(server: ModelServer) -> None:
    gateway = Gateway(ModelAccess("hosted", server.url, "LOOPBACK_KEY"))
    line = gateway.line("agent1", Budget().purse())
    assert line.figures().cost == 0  # nothing asked, nothing spent
    ask(line, chat())
    assert line.figures().cost is None
    assert line.figures().input_tokens == 1000
    assert not gateway.priced


def test_a_trial_that_has_spent_its_money_gets_no_more_answers(gateway: Gateway, server: ModelServer) -> None:
    purse = Budget(trial=FIRST / 2).purse()
    one, two = gateway.line("agent1", purse), gateway.line("agent2", purse)
    assert ask(one, chat())[0] == 200
    for line in (one, two):
        status, said = ask(line, chat(1))
        assert status == 402
        assert "has spent $0.00" in said["error"]["message"]
        assert line.over_limit
    assert len(server.bodies) == 1


def test_so_many_calls_and_no_more(server: ModelServer) -> None:
    gateway = Gateway(ModelAccess("hosted", server.url, "LOOPBACK_KEY"), most_calls=1)
    line = gateway.line("agent1", Budget().purse())
    assert [ask(line, chat(number))[0] for number in range(2)] == [200, 402]


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("/v1/files", b"{}", 404),
        ("/v1/messages", b"{", 400),
        ("/v1/messages", b"[]", 400),
        ("/v1/messages", b"\xff", 400),
        ("/v1beta/models/x:countTokens", b"{}", 404),
        ("/v1beta/models/x:generateContent", b"[]", 400),
    ],
)
def test_what_is_no_call_is_refused(gateway: Gateway, path: str, body: bytes, status: int) -> None:
    line = gateway.line("agent1", Budget().purse())
    assert ask(line, body, path)[0] == status
    assert line.figures().calls == 0


def test_what_the_server_refuses_is_handed_on_and_costs_nothing(
    gateway: Gateway, server: ModelServer
) -> None:
    kept: list[Any] = []
    line = gateway.line("agent1", Budget().purse(), kept.append)
    server.failures = [429, 400]
    assert [ask(line, chat())[0] for _ in range(3)] == [429, 400, 200]
    assert [call["status"] for call in kept] == [400, 200]  # "not now" is no part of what happened
    assert line.figures().calls == 1


def test_a_key_that_the_server_repeats_goes_no_further(
    server: ModelServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOOPBACK_KEY", "sk-another-key-than-expected")
    line = Gateway(ModelAccess("hosted", server.url, "LOOPBACK_KEY")).line("agent1", Budget().purse())
    reply = line.answer("/v1/chat/completions", chat())
    assert reply.status == 401
    assert b"wrong key [redacted]" in reply.body


def test_a_server_that_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as taken:  # bound, and nobody listens
        taken.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"
        monkeypatch.delenv("LOOPBACK_KEY", raising=False)
        line = Gateway(ModelAccess("hosted", url)).line("agent1", Budget().purse())
        status, said = ask(line, chat())
    assert status == 502
    assert "does not answer" in said["error"]["message"]


# ---------------------------------------------------------------------------------------------- the door


def knock(url: str, token: str, body: bytes, header: str = "Authorization") -> tuple[int, bytes]:
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=30)
    try:
        given = {header: f"Bearer {token}" if header == "Authorization" else token}
        connection.request("POST", "/v1/chat/completions", body, given)
        response = connection.getresponse()
        return response.status, response.read()
    finally:
        connection.close()


def test_the_door_knows_a_token_as_long_as_its_agent_works(gateway: Gateway) -> None:
    line = gateway.line("agent1", Budget().purse())
    url = line.url
    assert url.startswith("http://127.0.0.1:")
    assert [knock(url, line.token, chat(), name)[0] for name in HEADERS] == [200] * 3
    assert knock(url, "cb-guess", chat())[0] == 401
    line.close()
    assert knock(url, line.token, chat())[0] == 401
    assert line.answer("/v1/chat/completions", chat()).status == 401


# ---------------------------------------------------------------------------------------------- replay


def recorded(gateway: Gateway) -> list[Any]:
    kept: list[Any] = []
    line = gateway.line("agent1", Budget().purse(), kept.append)
    for number in range(3):
        ask(line, chat(number))
    return json.loads(json.dumps(kept))


def test_a_recording_answers_as_the_model_did(gateway: Gateway, server: ModelServer) -> None:
    calls = recorded(gateway)
    asked = len(server.bodies)
    line = gateway.line("agent1", Budget().purse(), source=Recorded("agent1", calls))
    answers = [ask(line, chat(number)) for number in range(3)]
    assert [status for status, _ in answers] == [200, 200, 200]
    assert [said for _, said in answers] == [json.loads(call["reply"]) for call in calls]
    assert line.figures().input_tokens == 3300
    line.close()
    assert line.trouble is None
    assert len(server.bodies) == asked


def test_requests_made_side_by_side_find_their_answers(gateway: Gateway) -> None:
    calls = recorded(gateway)
    line = gateway.line("agent1", Budget().purse(), source=Recorded("agent1", calls))
    for number in (2, 0, 1):
        assert ask(line, chat(number))[1] == json.loads(calls[number]["reply"])


def test_another_course_is_said(gateway: Gateway) -> None:
    calls = recorded(gateway)
    line = gateway.line("agent1", Budget().purse(), source=Recorded("agent1", calls))
    assert ask(line, chat(0))[0] == 200
    status, said = ask(line, chat(1, messages=[{"role": "user", "content": "You are agent1, turned left."}]))
    assert status == 409
    assert "call 2 of agent1 is not the recorded one" in said["error"]["message"]
    assert "turned left" in (line.trouble or "")
    short = gateway.line("agent1", Budget().purse(), source=Recorded("agent1", calls))
    ask(short, chat(0))
    short.close()
    assert "2 recorded calls were not made" in (short.trouble or "")
    longer = gateway.line("agent1", Budget().purse(), source=Recorded("agent1", calls[:1]))
    assert [ask(longer, chat(number))[0] for number in range(2)] == [200, 409]


def test_only_what_no_two_runs_share_is_passed_over() -> None:
    def text(said: str) -> str:
        return masked({"messages": [{"content": said}]})

    assert text("3 passed in 0.05s at /tmp/tmpabc/x, commit deadbee1") == text(
        "4 passed in 1.75s at /tmp/tmpxyz, commit 0123abc"
    )
    assert text("It is Friday, December 4; Thu Nov 26") == text("It is Tuesday, May 11; Sat Jan 2")
    assert text("3 passed") != text("3 failed")
    assert text("Sunlight marches") != text("Monlight decides")
    assert text("msg_01a2-9b3c-77") == text("msg_0f12-aaaa-01")
    assert masked({"model": "a", "metadata": {"x": 1}, "m": 1}) == masked({"model": "b", "m": 1})


# ---------------------------------------------------------------------------------------------- where calls go


def test_names_say_whose_a_model_is(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("ANTHROPIC_API_KEY", "OPENAI_API_KEY"):
        monkeypatch.setenv(name, KEY)
    assert open_source(ModelAccess("claude-sonnet-4-5")).dialects == ("messages",)
    assert open_source(ModelAccess("openai/gpt-5")).model == "gpt-5"
    assert open_source(ModelAccess("anthropic/claude-x", "http://h:1/v1")).dialects[0] == "messages"
    assert open_source(ModelAccess("meta/llama", "http://h:1")).model == "meta/llama"


def test_what_is_missing_is_said_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ANTHROPIC_API_KEY", raising=False)
    with pytest.raises(UsageError, match="ANTHROPIC_API_KEY, which is not set"):
        open_source(ModelAccess("anthropic/claude-x"))
    with pytest.raises(UsageError, match="whose is it"):
        open_source(ModelAccess("llama"))
    with pytest.raises(UsageError, match="not of the form"):
        ModelAccess("m", "localhost:8000")
    with pytest.raises(UsageError, match="password"):
        ModelAccess("m", "http://me:secret@h/v1")
    with pytest.raises(UsageError, match="name of an environment variable") as told:
        ModelAccess("m", api_key_env="sk-proj-0123456789abcdef")
    assert "0123456789" not in str(told.value)
    with pytest.raises((UsageError, MissingExtra)):
        open_source(ModelAccess("nobodys_provider/m"))
