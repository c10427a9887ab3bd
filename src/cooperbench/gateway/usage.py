"""What a call used, from the provider's own words in the reply; pure."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from cooperbench.gateway.calls import STREAM, Dialect, Reply


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens of one call, or of many."""

    input_tokens: int = 0
    """All of the prompt, those from the cache and those written to it included."""
    output_tokens: int = 0
    cache_read_tokens: int = 0
    cache_write_tokens: int = 0
    cost: float | None = None
    """US dollars, where the provider says so itself."""

    @property
    def fresh_tokens(self) -> int:
        """Input tokens at the full price."""
        return max(0, self.input_tokens - self.cache_read_tokens - self.cache_write_tokens)


def read_usage(dialect: Dialect, reply: Reply) -> Usage | None:
    """The usage a reply tells of; None when it tells of none."""
    found: dict[str, Any] = {}
    for value in _values(reply):
        for part in _told(dialect, value):
            # Later words complete or replace earlier ones: streams tell of the prompt first, of the answer last.
            found.update({key: number for key, number in part.items() if number is not None})
    return _USAGE[dialect](found) if found else None


def _values(reply: Reply) -> Iterator[Mapping[str, Any]]:
    """The JSON objects of a reply, whether it is one or a stream of events."""
    if reply.kind.startswith(STREAM):
        lines = [line[5:] for line in reply.body.splitlines() if line.startswith(b"data:")]
    else:
        lines = [reply.body]
    for line in lines:
        try:
            value = json.loads(line)
        except (ValueError, RecursionError):
            continue
        if isinstance(value, dict):
            yield value


def _told(dialect: Dialect, value: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """The parts of one object that tell of usage."""
    nested = {"responses": "response", "messages": "message"}.get(dialect)
    key = "usageMetadata" if dialect == "generate" else "usage"
    for holder in (value, value.get(nested) if nested else None):
        if isinstance(holder, dict) and isinstance(part := holder.get(key), dict):
            yield part


def _openai(found: Mapping[str, Any], given: str, said: str) -> Usage:
    details = found.get(f"{given}_details")
    details = details if isinstance(details, dict) else {}
    cost = found.get("cost")
    return Usage(
        _count(found.get(given)),
        _count(found.get(said)),
        _count(details.get("cached_tokens")),
        _count(details.get("cache_write_tokens")),
        float(cost)
        if isinstance(cost, int | float) and not isinstance(cost, bool) and 0 <= cost < _MOST
        else None,
    )


def _chat(found: Mapping[str, Any]) -> Usage:
    return _openai(found, "prompt_tokens", "completion_tokens")


def _responses(found: Mapping[str, Any]) -> Usage:
    return _openai(found, "input_tokens", "output_tokens")


def _messages(found: Mapping[str, Any]) -> Usage:
    read = _count(found.get("cache_read_input_tokens"))
    written = _count(found.get("cache_creation_input_tokens"))
    fresh = _count(found.get("input_tokens"))
    return Usage(fresh + read + written, _count(found.get("output_tokens")), read, written)


def _generate(found: Mapping[str, Any]) -> Usage:
    # What its own tools brought is given to the model once more, and is not in the prompt's count.
    given = _count(found.get("promptTokenCount")) + _count(found.get("toolUsePromptTokenCount"))
    said = _count(found.get("candidatesTokenCount"))
    if given + said != found.get("totalTokenCount"):  # else what it thought is in what it said
        said += _count(found.get("thoughtsTokenCount"))
    return Usage(given, said, _count(found.get("cachedContentTokenCount")))


_USAGE = {"chat": _chat, "responses": _responses, "messages": _messages, "generate": _generate}


def _count(value: Any) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 < value < _MOST else 0


_MOST = 10**15
"""Whole numbers beyond what a float holds cannot be priced or added up."""
