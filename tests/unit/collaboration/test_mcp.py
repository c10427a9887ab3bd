"""`coop mcp` in a sandbox: JSON-RPC 2.0 on standard input and output, a line a message, as MCP has it."""

from __future__ import annotations

import json
import threading
from dataclasses import asdict
from typing import Any

import pytest

from cooperbench.agents.base import Means
from cooperbench.collaboration.inside import mcp
from cooperbench.eval.backends import shell
from cooperbench.eval.backends.local import LocalBackend
from tests.unit.collaboration.teams import Team


def talk(team: Team, agent: str, *messages: Any) -> list[dict[str, Any]]:
    """What the server answers to these lines."""
    lines = [message if isinstance(message, str) else json.dumps(message) for message in messages]
    stdin = "".join(line + "\n" for line in lines).encode()
    done = shell.run(team.boxes[agent], ["coop", "mcp"], stdin=stdin, timeout=120)
    assert (done.returncode, done.stderr) == (0, b"")
    return [json.loads(line) for line in done.stdout.splitlines()]


def request(number: int, method: str, /, **params: Any) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": number, "method": method, "params": params}


def call(number: int, tool: str, /, **arguments: Any) -> dict[str, Any]:
    return request(number, "tools/call", name=tool, arguments=arguments)


def said(answer: dict[str, Any]) -> tuple[bool, str]:
    """Whether a tool's call failed, and its text."""
    (content,) = answer["result"]["content"]
    assert content["type"] == "text"
    return answer["result"]["isError"], content["text"]


def test_a_session(team: Team) -> None:
    team.start()
    text = 'it\'s "quoted" $(touch /tmp/ran)\n-\n--wait'
    hello, tools, sent, refused, listed = talk(
        team,
        "agent1",
        request(1, "initialize", protocolVersion="2025-03-26", capabilities={}, clientInfo={"name": "test"}),
        {"jsonrpc": "2.0", "method": "notifications/initialized"},
        request(2, "tools/list"),
        call(3, "coop_send", agent="agent2", text=text),
        call(4, "coop_send", agent="agent9", text="x"),
        call(5, "coop_task_list"),
    )
    assert hello["result"]["protocolVersion"] == "2025-03-26"
    assert hello["result"]["capabilities"] == {"tools": {}}
    assert len(tools["result"]["tools"]) == len(mcp.TOOLS)
    assert said(sent) == (False, "sent to agent2")
    assert said(refused) == (True, "coop: no agent 'agent9' here; there is agent1, agent2")
    assert said(listed)[0] is False
    assert team.bus.journal()[0].message.text == text
    (inbox,) = talk(team, "agent2", call(1, "coop_inbox", wait=60))
    assert "\n".join(f"  {line}" for line in text.splitlines()) in said(inbox)[1]


def test_every_tool_is_a_call_of_coop_that_coop_knows(team: Team) -> None:
    """A tool whose words `coop` does not know would end with wrong usage."""
    team.start()
    some = {"agent": "agent2", "text": "x", "title": "x", "wait": 0, "number": 1}
    calls = [
        call(number, f"coop_{name}", **{parameter: some[parameter] for parameter in tool.parameters})
        for number, (name, tool) in enumerate(mcp.TOOLS.items())
    ]
    for name, answer in zip(mcp.TOOLS, talk(team, "agent1", *calls), strict=True):
        assert "(coop --help)" not in said(answer)[1], name
    for name, tool in mcp.TOOLS.items():
        schema = mcp.described(name)["inputSchema"]
        assert set(schema["required"]) == set(tool.parameters) - set(tool.optional)


def test_what_is_switched_off_is_not_offered(backend: LocalBackend) -> None:
    team = Team(backend, means=Means(notes=True, mcp=True)).start()
    try:
        (tools,) = talk(team, "agent1", request(1, "tools/list"))
        names = [tool["name"] for tool in tools["result"]["tools"]]
        assert names == ["coop_who", "coop_note_show", "coop_note_append", "coop_note_replace"]
    finally:
        team.end()
    assert mcp.offered("\n".join(asdict(Means()))) == list(
        mcp.TOOLS
    )  # a word that no means has would hide a tool


def test_asking_through_it_waits(team: Team) -> None:
    team.start()
    answers: list[dict[str, Any]] = []
    asker = threading.Thread(
        target=lambda: answers.extend(talk(team, "agent1", call(1, "coop_ask", agent="agent2", text="?")))
    )
    asker.start()
    assert b"  ?\n" in team.coop("agent2", "inbox", "--wait", "60").stdout
    team.coop("agent2", "send", "agent1", "!")
    asker.join(100)
    assert said(answers[0])[1].endswith("\n  !")


@pytest.mark.parametrize(
    ("line", "code"),
    [
        ("{", -32700),
        ("[" * 100_000, -32700),
        ("[]", -32600),
        ('[{"jsonrpc": "2.0", "id": 1, "method": "ping"}]', -32600),  # a batch: not in this protocol any more
        ('"ping"', -32600),
        ('{"id": 1e999, "method": "ping"}', -32600),  # would come back as Infinity, which is no JSON
        ('{"id": null, "method": "ping"}', -32600),
        ('{"id": true, "method": "ping"}', -32600),
        ('{"id": {}, "method": "ping"}', -32600),
        ('{"id": 1, "method": 1}', -32600),
        ('{"id": ' + "9" * 5000 + ', "method": "ping"}', -32700),
        ('{"id": 1}', -32600),
        ('{"id": 1, "method": "dance"}', -32601),
        ('{"id": 1, "method": "tools/call", "params": {"name": "rm"}}', -32602),
        ('{"id": 1, "method": "tools/call", "params": []}', -32602),
    ],
)
def test_what_is_no_request_is_an_error(line: str, code: int) -> None:
    answer = mcp.reply(line.encode())
    assert answer is not None
    assert answer["error"]["code"] == code


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        ({}, "agent must be text"),
        ({"agent": 1, "text": "x"}, "agent must be text"),
        ({"agent": "agent2", "text": "x", "more": 1}, "unknown parameter 'more'"),
        ({"agent": "a\0b", "text": "x"}, "embedded null byte"),
    ],
)
def test_wrong_arguments_are_told_to_the_model(arguments: dict[str, Any], problem: str) -> None:
    answer = mcp.reply(json.dumps(call(1, "coop_send", **arguments)).encode())
    assert answer is not None
    assert said(answer) == (True, problem)


def test_a_session_goes_on_after_anything(team: Team) -> None:
    """Garbage, bytes that are no text, blank lines and notifications; text that is no Unicode; then a request."""
    team.start()
    garbage = b"\xff\xfe\0\n\n   \n{\n" + b'{"method": "notifications/cancelled"}\n' + b"x" * 100_000 + b"\n"
    odd = call(7, "coop_send", agent="agent2", text="\ud800 and \0")
    lines = (
        garbage + json.dumps(odd).encode() + b"\n" + json.dumps(request(8, "ping")).encode()
    )  # no line end
    done = shell.run(team.boxes["agent1"], ["coop", "mcp"], stdin=lines, timeout=120)
    assert (done.returncode, done.stderr) == (0, b"")
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    assert [answer["error"]["code"] for answer in answers[:3]] == [-32700] * 3
    assert said(answers[3]) == (False, "sent to agent2")
    assert answers[4:] == [{"jsonrpc": "2.0", "id": 8, "result": {}}]
    assert team.bus.journal()[0].message.text == "? and \0"


def test_without_python_it_says_so(team: Team) -> None:
    team.start()
    script = "mkdir /tmp/few; for p in sh cat mktemp; do ln -s $(command -v $p) /tmp/few; done; PATH=/tmp/few coop mcp"
    done = team.run("agent1", script.replace("coop mcp", "/usr/local/bin/coop mcp"))
    assert done.returncode == 1
    assert b"needs python3" in done.stderr
