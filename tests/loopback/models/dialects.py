"""The scripted answers in each vendor's shape: request body in, events or one body out."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from tests.loopback.models.script import Answer, Turn, tokens, whose

SHELLS = ("bash", "shell", "shell_command", "local_shell", "exec_command", "run_shell_command")


def text_of(content: Any) -> str:
    """All text in a message's content, whatever its nesting."""
    if isinstance(content, str):
        return content
    if isinstance(content, dict):
        return " ".join(text_of(content[key]) for key in ("text", "content", "parts") if key in content)
    return " ".join(map(text_of, content)) if isinstance(content, list) else ""


def shell_of(names: list[str]) -> str:
    """The name of the tool that runs commands."""
    return next((name for name in names if name.lower() in SHELLS), names[0] if names else "")


# ---------------------------------------------------------------------------------------------- chat completions


def chat_turn(body: dict[str, Any]) -> Turn:
    messages = body["messages"]
    names = [tool["function"]["name"] for tool in body.get("tools", [])]
    results = sum(message["role"] == "tool" for message in messages)
    return Turn(whose(" ".join(text_of(message.get("content")) for message in messages)), results, names)


def _chat_usage(answer: Answer) -> dict[str, Any]:
    given, cached, said = tokens(answer.number)
    details = {"cached_tokens": cached}
    return {
        "prompt_tokens": given,
        "completion_tokens": said,
        "total_tokens": given + said,
        "prompt_tokens_details": details,
    }


def chat_body(turn: Turn, answer: Answer, model: str) -> dict[str, Any]:
    message: dict[str, Any] = {"role": "assistant", "content": answer.text}
    if answer.command is not None:
        call = {"name": shell_of(list(turn.tools)), "arguments": json.dumps({"command": answer.command})}
        message["tool_calls"] = [{"id": f"call_{answer.number}", "type": "function", "function": call}]
    reason = "stop" if answer.command is None else "tool_calls"
    return {
        "id": f"chatcmpl-{answer.number}",
        "object": "chat.completion",
        "created": 1,
        "model": model,
        "choices": [{"index": 0, "message": message, "finish_reason": reason}],
        "usage": _chat_usage(answer),
    }


def chat_events(turn: Turn, answer: Answer, model: str, with_usage: bool) -> Iterator[str]:
    whole = chat_body(turn, answer, model)
    head = {**whole, "object": "chat.completion.chunk"}
    usage = head.pop("usage")
    message = whole["choices"][0]["message"]
    for index, call in enumerate(message.get("tool_calls", ())):
        call["index"] = index
    choice = {"index": 0, "delta": message, "finish_reason": None}
    ended = {"index": 0, "delta": {}, "finish_reason": whole["choices"][0]["finish_reason"]}
    for choices in ([choice], [ended]):
        yield f"data: {json.dumps({**head, 'choices': choices})}\n\n"
    if with_usage:
        yield f"data: {json.dumps({**head, 'choices': [], 'usage': usage})}\n\n"
    yield "data: [DONE]\n\n"


# ---------------------------------------------------------------------------------------------- responses


def responses_turn(body: dict[str, Any]) -> Turn:
    items = body["input"] if isinstance(body["input"], list) else [{"content": body["input"]}]
    names = [str(tool.get("name", tool.get("type"))) for tool in body.get("tools", [])]
    results = sum(str(item.get("type", "")).endswith("call_output") for item in items)
    text = " ".join(text_of(item.get("content")) for item in items)
    return Turn(whose(f"{body.get('instructions') or ''} {text}"), results, names)


def _responses_call(name: str, command: str, number: int) -> dict[str, Any]:
    arguments: dict[str, Any] = {"command": command}
    if name == "exec_command":
        arguments = {"cmd": command}
    elif name == "shell":
        arguments = {"command": ["bash", "-lc", command]}
    return {
        "id": f"fc_{number}",
        "type": "function_call",
        "status": "completed",
        "call_id": f"call_{number}",
        "name": name,
        "arguments": json.dumps(arguments),
    }


def responses_body(turn: Turn, answer: Answer, model: str) -> dict[str, Any]:
    given, cached, said = tokens(answer.number)
    content = {"type": "output_text", "text": answer.text, "annotations": []}
    message = {
        "id": f"msg_{answer.number}",
        "type": "message",
        "role": "assistant",
        "status": "completed",
        "content": [content],
    }
    output: list[dict[str, Any]] = [message]
    if answer.command is not None:
        output.append(_responses_call(shell_of(list(turn.tools)), answer.command, answer.number))
    return {
        "id": f"resp_{answer.number}",
        "object": "response",
        "created_at": 1,
        "status": "completed",
        "model": model,
        "output": output,
        "parallel_tool_calls": False,
        "tool_choice": "auto",
        "tools": [],
        "usage": {
            "input_tokens": given,
            "input_tokens_details": {"cached_tokens": cached},
            "output_tokens": said,
            "output_tokens_details": {"reasoning_tokens": 0},
            "total_tokens": given + said,
        },
    }


def responses_events(turn: Turn, answer: Answer, model: str) -> Iterator[str]:
    whole = responses_body(turn, answer, model)
    events: list[dict[str, Any]] = [
        {"type": "response.created", "response": {**whole, "status": "in_progress", "output": []}}
    ]
    for index, item in enumerate(whole["output"]):
        events.append({"type": "response.output_item.added", "output_index": index, "item": item})
        events.append({"type": "response.output_item.done", "output_index": index, "item": item})
    events.append({"type": "response.completed", "response": whole})
    for number, event in enumerate(events):
        yield f"event: {event['type']}\ndata: {json.dumps({**event, 'sequence_number': number})}\n\n"


# ---------------------------------------------------------------------------------------------- messages


def messages_turn(body: dict[str, Any]) -> Turn:
    contents = [message["content"] for message in body["messages"]]
    results = sum(
        isinstance(part, dict) and part.get("type") == "tool_result"
        for content in contents
        if isinstance(content, list)
        for part in content
    )
    names = [str(tool.get("name")) for tool in body.get("tools", [])]
    return Turn(whose(f"{text_of(body.get('system'))} {text_of(contents)}"), results, names)


def _messages_usage(answer: Answer) -> dict[str, int]:
    given, cached, said = tokens(answer.number)
    return {
        "input_tokens": given - cached,
        "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": cached,
        "output_tokens": said,
    }


def messages_body(turn: Turn, answer: Answer, model: str) -> dict[str, Any]:
    content: list[dict[str, Any]] = [{"type": "text", "text": answer.text}]
    if answer.command is not None:
        given = {"command": answer.command, "description": "as the script says"}
        name = shell_of(list(turn.tools))
        content.append({"type": "tool_use", "id": f"toolu_{answer.number}", "name": name, "input": given})
    return {
        "id": f"msg_{answer.number}",
        "type": "message",
        "role": "assistant",
        "model": model,
        "content": content,
        "stop_reason": "end_turn" if answer.command is None else "tool_use",
        "stop_sequence": None,
        "usage": _messages_usage(answer),
    }


def messages_events(turn: Turn, answer: Answer, model: str) -> Iterator[str]:
    whole = messages_body(turn, answer, model)
    usage = whole["usage"]
    start = {**whole, "content": [], "stop_reason": None, "usage": {**usage, "output_tokens": 1}}
    events: list[dict[str, Any]] = [{"type": "message_start", "message": start}]
    for index, block in enumerate(whole["content"]):
        if block["type"] == "text":
            empty, delta = {**block, "text": ""}, {"type": "text_delta", "text": block["text"]}
        else:
            empty = {**block, "input": {}}
            delta = {"type": "input_json_delta", "partial_json": json.dumps(block["input"])}
        events.append({"type": "content_block_start", "index": index, "content_block": empty})
        events.append({"type": "content_block_delta", "index": index, "delta": delta})
        events.append({"type": "content_block_stop", "index": index})
    ended = {"stop_reason": whole["stop_reason"], "stop_sequence": None}
    counted = {"output_tokens": usage["output_tokens"]}
    events += [{"type": "message_delta", "delta": ended, "usage": counted}, {"type": "message_stop"}]
    for event in events:
        yield f"event: {event['type']}\ndata: {json.dumps(event)}\n\n"


# ---------------------------------------------------------------------------------------------- generateContent


def generate_turn(body: dict[str, Any]) -> Turn:
    # Clients write names in either way, `functionResponse` or `function_response`; the vendor takes both.
    parts = [part for content in body["contents"] for part in content.get("parts", ())]
    results = sum("functionResponse" in part or "function_response" in part for part in parts)
    names = [
        str(declared["name"])
        for tool in body.get("tools", [])
        for declared in tool.get("functionDeclarations", tool.get("function_declarations", []))
    ]
    system = body.get("systemInstruction", body.get("system_instruction"))
    return Turn(whose(f"{text_of(system)} {text_of(parts)}"), results, names)


def _generate_usage(answer: Answer) -> dict[str, int]:
    """All of what is said but one token is said to be thought."""
    given, cached, said = tokens(answer.number)
    told = {
        "promptTokenCount": given,
        "candidatesTokenCount": 1,
        "thoughtsTokenCount": said - 1,
        "totalTokenCount": given + said,
    }
    return {**told, "cachedContentTokenCount": cached} if cached else told


def generate_body(turn: Turn, answer: Answer, model: str) -> dict[str, Any]:
    parts: list[dict[str, Any]] = [{"text": answer.text}]
    if answer.command is not None:
        given = {"command": answer.command, "description": "as the script says"}
        call = {"id": f"call_{answer.number}", "name": shell_of(list(turn.tools)), "args": given}
        parts.append({"functionCall": call, "thoughtSignature": "c2lnbmVk"})
    candidate = {"content": {"role": "model", "parts": parts}, "finishReason": "STOP", "index": 0}
    return {
        "candidates": [candidate],
        "usageMetadata": _generate_usage(answer),
        "modelVersion": model,
        "responseId": f"resp_{answer.number}",
    }


def generate_events(turn: Turn, answer: Answer, model: str) -> Iterator[str]:
    """One part each; usage in every one, complete in the last."""
    whole = generate_body(turn, answer, model)
    (candidate,) = whole["candidates"]
    parts = candidate["content"]["parts"]
    for number, part in enumerate(parts, 1):
        piece = {**candidate, "content": {"role": "model", "parts": [part]}}
        usage = whole["usageMetadata"]
        if number < len(parts):
            del piece["finishReason"]
            usage = {"promptTokenCount": usage["promptTokenCount"]}
        event = {**whole, "candidates": [piece], "usageMetadata": usage}
        yield f"data: {json.dumps(event)}\r\n\r\n"
