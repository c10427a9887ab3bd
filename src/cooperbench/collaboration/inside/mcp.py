"""`coop mcp`: the MCP server (JSON-RPC 2.0, one message a line, on standard input and output) inside a sandbox.

It runs there by itself, on whatever Python 3 the image has: nothing is imported but the standard library. Every tool
is one call of `coop`, its text on standard input, so there is one client of the bus and this is a way to reach it.
"""

import json
import subprocess
import sys

COOP = "coop"
VERSIONS = ("2025-06-18", "2025-03-26", "2024-11-05")
INSTRUCTIONS = (
    "Work together with the other agents on this task: messages, a task list, a scratchpad, git branches."
)

TEXT = {"type": "string"}
NUMBER = {"type": "integer", "minimum": 0}

# Tool → (what it does, its parameters, those that may be left out, the call: words and {parameter}s; and which
# parameter goes in by standard input).
TOOLS = {
    "send": (
        "Leave a message for one teammate.",
        {"agent": TEXT, "text": TEXT},
        (),
        "send {agent} -",
        "text",
    ),
    "broadcast": ("Leave a message for all teammates.", {"text": TEXT}, (), "broadcast -", "text"),
    "inbox": (
        "Read your unread messages; waits up to wait seconds for the first.",
        {"wait": NUMBER},
        ("wait",),
        "inbox --wait {wait}",
        None,
    ),
    "ask": (
        "Send a question to a teammate and wait up to wait seconds for the answer.",
        {"agent": TEXT, "text": TEXT, "wait": NUMBER},
        ("wait",),
        "ask {agent} - --wait {wait}",
        "text",
    ),
    "who": ("Who works here, and who has finished.", {}, (), "who", None),
    "task_list": ("The team's task list.", {}, (), "task list", None),
    "task_add": ("Put a task on the team's list.", {"title": TEXT}, (), "task add -", "title"),
    "task_claim": (
        "Make a task yours; without a number, the first open one.",
        {"number": NUMBER},
        ("number",),
        "task claim {number}",
        None,
    ),
    "task_update": (
        "Say something about a task.",
        {"number": NUMBER, "text": TEXT},
        (),
        "task update {number} -",
        "text",
    ),
    "task_done": ("Call a task done.", {"number": NUMBER}, (), "task done {number}", None),
    "note_show": ("Read the team's scratchpad.", {}, (), "note show", None),
    "note_append": ("Add to the team's scratchpad.", {"text": TEXT}, (), "note append -", "text"),
    "note_replace": ("Write the team's scratchpad anew.", {"text": TEXT}, (), "note replace -", "text"),
    "push": ("Offer the commits of the current branch to your teammates.", {}, (), "push", None),
    "fetch": (
        "Get what teammates pushed, as git branches team/AGENT.",
        {"agent": TEXT},
        ("agent",),
        "fetch {agent}",
        None,
    ),
}
LEFT_OUT = {"wait": "60"}


def described(name):
    """One tool as `tools/list` has it."""
    text, parameters, optional, _, _ = TOOLS[name]
    schema = {
        "type": "object",
        "properties": parameters,
        "required": [parameter for parameter in parameters if parameter not in optional],
        "additionalProperties": False,
    }
    return {"name": f"coop_{name}", "description": text, "inputSchema": schema}


def command(name, arguments):
    """The call of `coop` that a tool stands for, and its standard input; ValueError where arguments are wrong."""
    _, parameters, optional, call, piped = TOOLS[name]
    unknown = [parameter for parameter in arguments if parameter not in parameters]
    if unknown:
        raise ValueError(f"unknown parameter {unknown[0]!r}")
    values = {}
    for parameter, schema in parameters.items():
        value = arguments.get(parameter)
        wanted = str if schema is TEXT else int
        if value is None and parameter in optional:
            value = LEFT_OUT.get(parameter)
        elif not isinstance(value, wanted) or isinstance(value, bool):
            raise ValueError(f"{parameter} must be {'text' if wanted is str else 'a whole number'}")
        values[parameter] = value
    words = [COOP]
    for word in call.split():
        value = values[word[1:-1]] if word[0] == "{" else word
        if value is not None:
            words.append(str(value))
    return words, (values[piped] if piped else "")


def called(name, arguments):
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


def answered(method, parameters):
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
        return {"tools": [described(name) for name in TOOLS]}
    if method == "tools/call":
        name = str(parameters.get("name", "")).replace("coop_", "", 1)
        arguments = parameters.get("arguments") or {}
        if name not in TOOLS or not isinstance(arguments, dict):
            raise LookupError(f"no tool {parameters.get('name')!r}")
        return called(name, arguments)
    raise LookupError(f"no method {method!r}")


def reply(line):
    """The answer to one line; None where none is due."""
    try:
        message = json.loads(line)
    except (ValueError, RecursionError):
        return {"jsonrpc": "2.0", "id": None, "error": {"code": -32700, "message": "not JSON"}}
    if not isinstance(message, dict) or not isinstance(message.get("method"), str):
        return {"jsonrpc": "2.0", "id": None, "error": {"code": -32600, "message": "not a request"}}
    if "id" not in message:
        return None  # a notification
    parameters = message.get("params")
    try:
        result = answered(message["method"], parameters if isinstance(parameters, dict) else {})
    except LookupError as problem:
        known = message["method"] == "tools/call"
        error = {"code": -32602 if known else -32601, "message": str(problem.args[0])}
        return {"jsonrpc": "2.0", "id": message["id"], "error": error}
    return {"jsonrpc": "2.0", "id": message["id"], "result": result}


def main():
    """Serve until standard input ends."""
    for line in sys.stdin.buffer:
        answer = reply(line) if line.strip() else None
        if answer is not None:
            sys.stdout.write(json.dumps(answer) + "\n")
            sys.stdout.flush()


if __name__ == "__main__":
    main()
