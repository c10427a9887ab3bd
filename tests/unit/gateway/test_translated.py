"""A model that only litellm reaches: the real litellm, speaking Gemini's own protocol to a server on the loopback."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from tests.loopback.models import CACHED, KEY, ModelServer, Script, tokens

ASK = """
import json, sys
from cooperbench.budget import Budget
from cooperbench.gateway import Gateway, ModelAccess
from cooperbench.gateway.translated import Translated

access = ModelAccess("gemini/scripted", None, "LOOPBACK_KEY")
kept = []
line = Gateway(access, Translated(access)).line("agent1", Budget().purse(), kept.append)
replies = [line.answer("/v1/chat/completions", json.dumps(body).encode()) for body in json.load(sys.stdin)]
figures = line.figures()
print(json.dumps({
    "replies": [(reply.status, reply.kind, reply.body.decode()) for reply in replies],
    "figures": [getattr(figures, name) for name in ("calls", "input_tokens", "cache_read_tokens", "output_tokens")],
    "kept": kept,
}))
"""
TOOL = {"type": "function", "function": {"name": "bash", "parameters": {"type": "object", "properties": {}}}}


@pytest.fixture(name="server")
def _server(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModelServer]:
    with ModelServer(Script({"agent1": ["ls", "pwd"]})) as server:
        monkeypatch.setenv("LOOPBACK_KEY", KEY)
        monkeypatch.setenv("GEMINI_API_BASE", f"{server.url}/v1beta")
        yield server


def conversation(results: int, **more: Any) -> dict[str, Any]:
    """An agent's request after so many commands."""
    messages: list[dict[str, Any]] = [{"role": "user", "content": "You are agent1."}]
    for number in range(results):
        call = {"id": f"call_{number}", "type": "function", "function": {"name": "bash", "arguments": "{}"}}
        messages.append({"role": "assistant", "content": None, "tool_calls": [call]})
        messages.append({"role": "tool", "tool_call_id": call["id"], "content": "done"})
    return {"model": "any", "messages": messages, "tools": [TOOL], **more}


def asked(*bodies: dict[str, Any]) -> tuple[dict[str, Any], str]:
    """What a line answers, and all that was printed; in a process of its own, as litellm leaves an event loop open."""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", ASK],
        input=json.dumps(bodies),
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout), done.stdout + done.stderr


def test_tools_and_streams_and_every_token(server: ModelServer) -> None:
    """Three answers, the middle one streamed: a command, a command, a last word."""
    said, printed = asked(conversation(0), conversation(1, stream=True), conversation(2))
    (first, streamed, last) = said["replies"]
    assert [status for status, _, _ in said["replies"]] == [200] * 3
    (choice,) = json.loads(first[2])["choices"]
    assert choice["finish_reason"] == "tool_calls"
    (call,) = choice["message"]["tool_calls"]
    assert (call["function"]["name"], json.loads(call["function"]["arguments"])["command"]) == ("bash", "ls")
    assert json.loads(last[2])["choices"][0]["message"]["content"] == "All done."

    assert streamed[1] == "text/event-stream"
    *events, ending = streamed[2].split("\n\n")[:-1]
    assert ending == "data: [DONE]"
    pieces = [json.loads(event.removeprefix("data: ")) for event in events]
    deltas = [piece["choices"][0]["delta"] for piece in pieces if piece["choices"]]
    assert "".join(delta.get("content") or "" for delta in deltas) == "Step 2."
    calls = [call["function"] for delta in deltas for call in delta.get("tool_calls") or ()]
    assert [(call["name"], json.loads(call["arguments"])["command"]) for call in calls] == [("bash", "pwd")]

    given, cached, out = (sum(column) for column in zip(*map(tokens, range(3)), strict=True))
    assert said["figures"] == [3, given, cached, out]
    assert cached == 2 * CACHED
    assert [body["contents"][0]["parts"][0]["text"] for body in server.bodies] == ["You are agent1."] * 3
    assert KEY not in printed
    assert KEY not in json.dumps(server.bodies)


def test_a_request_chooses_neither_server_nor_key(server: ModelServer) -> None:
    wishes = {"api_base": "http://127.0.0.1:9", "base_url": "http://127.0.0.1:9", "api_key": "sk-of-my-own"}
    said, _ = asked(conversation(0, **wishes, extra_headers={"x-goog-api-key": "sk-of-my-own"}))
    assert said["replies"][0][0] == 200
    assert len(server.bodies) == 1


@pytest.mark.parametrize("streamed", [False, True])
def test_refusals_are_handed_on_and_a_key_in_them_is_not(
    server: ModelServer, monkeypatch: pytest.MonkeyPatch, streamed: bool
) -> None:
    """The server repeats the key it does not like; what it says of a request is told with its status."""
    more = {"stream": True} if streamed else {}
    server.failures = [429, 400]
    said, printed = asked(*[conversation(0, **more)] * 3)
    assert [status for status, _, _ in said["replies"]] == [429, 400, 200]
    assert "not now" in said["replies"][1][2]
    assert [call["status"] for call in said["kept"]] == [200]
    assert KEY not in printed
    # Of no vendor's form: litellm takes out those that are.
    monkeypatch.setenv("LOOPBACK_KEY", "another key than expected")
    said, printed = asked(conversation(0, **more))
    assert said["replies"][0][0] == 401
    assert "wrong key [redacted]" in said["replies"][0][2]
    assert "another key" not in printed
