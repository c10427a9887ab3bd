"""A call to a model and the reply to it, as values: what the vendors' four protocols have in common."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

Dialect = Literal["chat", "responses", "messages", "generate"]
"""OpenAI's chat completions and responses, Anthropic's messages, Gemini's generateContent."""

DIALECTS: tuple[Dialect, ...] = get_args(Dialect)

PATHS: Mapping[str, Dialect] = {
    "/v1/chat/completions": "chat",
    "/v1/responses": "responses",
    "/v1/messages": "messages",
}
"""Where each is asked for. Gemini's names the model in its path."""
_GENERATE = re.compile(r"/v1(?:beta)?/models/.+:(generateContent|streamGenerateContent)")

KEPT = ("anthropic-beta",)
"""Request headers that change what is answered."""
_HEADER = re.compile(r"[A-Za-z0-9,._ -]{1,1000}")

JSON = "application/json"
STREAM = "text/event-stream"


@dataclass(frozen=True, slots=True)
class Call:
    """One request to a model."""

    dialect: Dialect
    body: Mapping[str, Any]
    streamed: bool
    headers: Mapping[str, str] = field(default_factory=dict)
    """Those a provider needs to see, by lower-case name."""


@dataclass(frozen=True, slots=True)
class Reply:
    """The answer to one, whole: a stream of events too is here from its first byte to its last."""

    status: int
    kind: str
    """Its content type."""
    body: bytes


class CallError(Exception):
    """A call that cannot be answered; the caller gets `status` and the message."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


def read_call(path: str, content: bytes, headers: Mapping[str, str] | None = None) -> Call:
    """A request as it comes from a framework, which may be inside a sandbox: any bytes.

    Args:
        headers: the request's; only those in `KEPT` go further.

    Raises:
        CallError: it is none of the protocols the gateway speaks.
    """
    path = path.partition("?")[0]
    path = path if path.startswith("/v1") else f"/v1{path}"
    generate = _GENERATE.fullmatch(path)
    if path not in PATHS and generate is None:
        raise CallError(404, f"the gateway has no {path[:200]}")
    try:
        body = json.loads(content)
    except (ValueError, RecursionError) as problem:
        raise CallError(400, f"the request is not JSON: {problem}") from problem
    if not isinstance(body, dict):
        raise CallError(400, "the request is not a JSON object")
    if generate is not None:
        return Call("generate", body, generate[1].startswith("stream"))
    given = {name.lower(): value for name, value in (headers or {}).items()}
    kept = {name: given[name] for name in KEPT if _HEADER.fullmatch(given.get(name, ""))}
    return Call(PATHS[path], body, body.get("stream") is True, kept)


def refusal(status: int, message: str) -> Reply:
    """An error in a shape that every vendor's client understands."""
    error = {"type": "invalid_request_error", "code": status, "message": message}
    return Reply(status, JSON, json.dumps({"type": "error", "error": error}).encode())
