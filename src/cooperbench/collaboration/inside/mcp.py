"""`coop mcp`: the MCP server (JSON-RPC 2.0, one message a line, on standard input and output) inside a sandbox.

It runs there by itself, on whatever Python from 3.7 the image has: nothing is imported but the standard library. Every
tool is one call of `coop`, its text on standard input, so there is one client of the bus and this is a way to reach it.
"""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any, Dict, List, NamedTuple, Optional, Tuple

COOP = "coop"
MEANS = "/var/spool/coop/means"
"""What is switched on in this run, a word a line."""
VERSIONS = ("2025-06-18", "2025-03-26", "2024-11-05")
INSTRUCTIONS = (
    "Work together with the other agents on this task: messages, a task list, a scratchpad, git branches."
)

TEXT = {"type": "string"}
NUMBER = {"type": "integer", "minimum": 0}


class Tool(NamedTuple):
    """One call of `coop`."""

    part: str
    """What must be switched on for it."""
    what: str
    call: str
    """Words of the command and {parameter}s; one that is left out leaves its word out."""
    parameters: Dict[str, Any] = {}  # never changed
    optional: Tuple[str, ...] = ()
    piped: Optional[str] = None
    """The parameter that goes in by standard input."""


AGENT_AND_TEXT = {"agent": TEXT, "text": TEXT}
TOOLS = {
    "send": Tool(
        "messages", "Leave a message for one teammate.", "send {agent} -", AGENT_AND_TEXT, piped="text"
    ),
    "broadcast": Tool(
        "messages", "Leave a message for all teammates.", "broadcast -", {"text": TEXT}, piped="text"
    ),
    "inbox": Tool(
        "messages",
        "Read your unread messages, waiting up to so many seconds (60) for the first.",
        "inbox --wait {wait}",
        {"wait": NUMBER},
        ("wait",),
    ),
    "ask": Tool(
        "ask",
        "Send a question to a teammate and wait up to so many seconds (60) for the answer.",
        "ask {agent} - --wait {wait}",
        {**AGENT_AND_TEXT, "wait": NUMBER},
        ("wait",),
        "text",
    ),
    "who": Tool("", "Who works here, and who has finished.", "who"),
    "task_list": Tool("tasks", "The team's task list.", "task list"),
    "task_add": Tool("tasks", "Put a task on the team's list.", "task add -", {"title": TEXT}, piped="title"),
    "task_claim": Tool(
        "tasks",
        "Make a task yours; without a number, the first open one.",
        "task claim {number}",
        {"number": NUMBER},
        ("number",),
    ),
    "task_update": Tool(
        "tasks",
        "Say something about a task.",
        "task update {number} -",
        {"number": NUMBER, "text": TEXT},
        piped="text",
    ),
    "task_done": Tool("tasks", "Call a task done.", "task done {number}", {"number": NUMBER}),
    "note_show": Tool("notes", "Read the team's scratchpad.", "note show"),
    "note_append": Tool(
        "notes", "Add to the team's scratchpad.", "note append -", {"text": TEXT}, piped="text"
    ),
    "note_replace": Tool(
        "notes", "Write the team's scratchpad anew.", "note replace -", {"text": TEXT}, piped="text"
    ),
    "push": Tool("git", "Offer the commits of the current branch to your teammates.", "push"),
    "fetch": Tool(
        "git",
        "Get what teammates pushed, as git branches team/AGENT.",
        "fetch {agent}",
        {"agent": TEXT},
        ("agent",),
    ),
}
LEFT_OUT = {"wait": "60"}


def offered(means: Optional[str] = None) -> List[str]:
    """The tools that are switched on; without word of that, all."""
    if means is None:
        try:
            with open(MEANS) as file:
                means = file.read()
        except OSError:
            return list(TOOLS)
    parts = means.split()
    return [name for name, tool in TOOLS.items() if not tool.part or tool.part in parts]


def described(name: str) -> Dict[str, Any]:
    """One tool as `tools/list` has it."""
    tool = TOOLS[name]
    schema = {
        "type": "object",
        "properties": tool.parameters,
        "required": [parameter for parameter in tool.parameters if parameter not in tool.optional],
        "additionalProperties": False,
    }
    return {"name": "coop_" + name, "description": tool.what, "inputSchema": schema}


def command(name: str, arguments: Dict[str, Any]) -> Tuple[List[str], str]:
    """The call of `coop` that a tool stands for, and its standard input; ValueError where arguments are wrong."""
    tool = TOOLS[name]
    unknown = [parameter for parameter in arguments if parameter not in tool.parameters]
    if unknown:
        raise ValueError(f"unknown parameter {unknown[0]!r}")
    values: Dict[str, Any] = {}
    for parameter, schema in tool.parameters.items():
        value = arguments.get(parameter)
        wanted = str if schema is TEXT else int
        if value is None and parameter in tool.optional:
            value = LEFT_OUT.get(parameter)
        elif not isinstance(value, wanted) or isinstance(value, bool):
            raise ValueError(f"{parameter} must be {'text' if wanted is str else 'a whole number'}")
        values[parameter] = value
    words = [values[word[1:-1]] if word[0] == "{" else word for word in tool.call.split()]
    text = values[tool.piped] if tool.piped is not None else ""
    return [COOP, *(str(word) for word in words if word is not None)], text


def called(name: str, arguments: Dict[str, Any]) -> Dict[str, Any]:
    """What came of a call, as `tools/call` has it: a refusal is an answer that the model is to see."""
    try:
        words, text = command(name, arguments)
        done = subprocess.run(
            words,
            input=text.encode("utf-8", "replace"),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            check=False,
        )
        said, failed = done.stdout.decode("utf-8", "replace"), done.returncode != 0
    except (ValueError, OSError) as problem:
        said, failed = str(problem), True
    return {"content": [{"type": "text", "text": said.rstrip("\n")}], "isError": failed}


def answered(method: str, parameters: Dict[str, Any]) -> Dict[str, Any]:
    """The result of a request; LookupError where there is no such thing."""
    if method == "initialize":
        asked = parameters.get("protocolVersion")
        return {
            "protocolVersion": asked if asked in VERSIONS else VERSIONS[0],
            "capabilities": {"tools": {}},
            "serverInfo": {"name": "coop", "version": "1"},
            "instructions": INSTRUCTIONS,
        }
    if method == "ping":
        return {}
    if method == "tools/list":
        return {"tools": [described(name) for name in offered()]}
    if method == "tools/call":
        name = str(parameters.get("name", "")).replace("coop_", "", 1)
        arguments = parameters.get("arguments") or {}
        if name not in TOOLS or not isinstance(arguments, dict):
            raise LookupError(f"no tool {parameters.get('name')!r}")
        return called(name, arguments)
    raise LookupError(f"no method {method!r}")


def reply(line: bytes) -> Optional[Dict[str, Any]]:
    """The answer to one line; None where none is due."""
    try:
        message = json.loads(line)
    except (ValueError, RecursionError):
        return {"jsonrpc": "2.0", "id": None, "error": {"code": -32700, "message": "not JSON"}}
    if not isinstance(message, dict) or not isinstance(message.get("method"), str):
        return {"jsonrpc": "2.0", "id": None, "error": {"code": -32600, "message": "not a request"}}
    if "id" not in message:
        return None  # a notification
    if not isinstance(message["id"], (str, int)) or isinstance(message["id"], bool):
        return {
            "jsonrpc": "2.0",
            "id": None,
            "error": {"code": -32600, "message": "an id is text or a whole number"},
        }
    parameters = message.get("params")
    try:
        result = answered(message["method"], parameters if isinstance(parameters, dict) else {})
    except LookupError as problem:
        known = message["method"] == "tools/call"
        error = {"code": -32602 if known else -32601, "message": str(problem.args[0])}
        return {"jsonrpc": "2.0", "id": message["id"], "error": error}
    return {"jsonrpc": "2.0", "id": message["id"], "result": result}


def main() -> None:
    """Serve until standard input ends."""
    for line in sys.stdin.buffer:
        answer = reply(line) if line.strip() else None
        if answer is not None:
            sys.stdout.write(json.dumps(answer) + "\n")
            sys.stdout.flush()


if __name__ == "__main__":
    main()
