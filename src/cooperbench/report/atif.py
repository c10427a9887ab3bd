"""One agent's part of a trial in ATIF, the Agent Trajectory Interchange Format (version 1.6).

Of that format's fields only those are used that all versions from 1.4 on have. Made of what is on disk, so every
shape a framework may have given its transcript must come out as something: a chat message as itself, a command
as a call of a tool, anything else kept whole under ``extra``.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

VERSION = "ATIF-v1.6"
SHELL = "bash"
"""What the tool is called that runs commands."""

Step = dict[str, Any]


def trajectory(result: Mapping[str, Any], agent: str, events: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """The agent's trajectory.

    Args:
        result: the trial's ``result.json``. agent: ``agent1`` …. events: the trial's ``events.jsonl``.
    """
    record = _record(result, agent)
    steps = _steps(agent, events)
    for number, step in enumerate(steps, 1):
        step["step_id"] = number
    trial = f"{result.get('repo')}/{result.get('task_id')}/{','.join(map(str, result.get('features') or ()))}"
    return {
        "schema_version": VERSION,
        "session_id": f"{result.get('run_id')}-{agent}",
        "agent": _present(
            name=str(result.get("agent_framework")),
            version="unknown",
            model_name=result.get("model"),
            extra=_present(agent_id=agent, role=record.get("team_role"), feature=record.get("feature_id")),
        ),
        "steps": steps,
        "final_metrics": _present(
            total_prompt_tokens=_count(record.get("input_tokens")),
            total_completion_tokens=_count(record.get("output_tokens")),
            total_cached_tokens=_count(record.get("cache_read_tokens")),
            total_cost_usd=_figure(record.get("cost")),
            total_steps=len(steps),
        ),
        "extra": {
            "trial": trial,
            "setting": result.get("setting"),
            "run": result.get("run_name"),
            "status": record.get("status"),
        },
    }


def _record(result: Mapping[str, Any], agent: str) -> Mapping[str, Any]:
    several = result.get("agents")
    record = several.get(agent) if isinstance(several, Mapping) else result.get("agent")
    return record if isinstance(record, Mapping) else {}


def _steps(agent: str, events: Iterable[Mapping[str, Any]]) -> list[Step]:
    steps: list[Step] = []
    for event in events:
        details, entry = event.get("details"), event.get("entry")
        if isinstance(details, Mapping):
            if event.get("kind") == "message" and details.get("to") == agent:
                steps.append(_step(event, "user", str(details.get("text")), {"from": event.get("agent")}))
            elif event.get("agent") == agent:
                extra = {"kind": event.get("kind"), "details": dict(details)}
                steps.append(_step(event, "system", f"bus: {event.get('kind')}", extra))
        elif event.get("agent") == agent:
            _add_entry(steps, event, entry)
    return steps


def _add_entry(steps: list[Step], event: Mapping[str, Any], entry: Any) -> None:
    """An entry of the transcript as a step of its own, or as what the step before brought about."""
    if not isinstance(entry, Mapping):
        steps.append(_step(event, "system", _text(entry), None))
    elif isinstance(entry.get("command"), str):
        steps.append(_command(event, entry, f"call_{len(steps) + 1}"))
    elif entry.get("role") == "tool" and (call := _caller(steps, entry.get("tool_call_id"))) is not None:
        results = call.setdefault("observation", {"results": []})["results"]
        results.append({"source_call_id": entry["tool_call_id"], "content": _text(entry.get("content"))})
    elif entry.get("role") == "assistant":
        steps.append(_answer(event, entry))
    elif entry.get("role") in ("system", "user"):
        steps.append(_step(event, str(entry["role"]), _text(entry.get("content")), None))
    else:
        steps.append(_step(event, "system", "", {"entry": dict(entry)}))


def _command(event: Mapping[str, Any], entry: Mapping[str, Any], name: str) -> Step:
    step = _step(event, "agent", "", _present(exit_code=entry.get("exit_code")))
    step["tool_calls"] = [
        {"tool_call_id": name, "function_name": SHELL, "arguments": {"command": entry["command"]}}
    ]
    output = "".join(_text(entry[key]) for key in ("output", "stdout", "stderr") if entry.get(key))
    step["observation"] = {"results": [{"source_call_id": name, "content": output}]}
    return step | _metrics(entry)


def _answer(event: Mapping[str, Any], entry: Mapping[str, Any]) -> Step:
    step = _step(event, "agent", _text(entry.get("content")), None)
    if isinstance(entry.get("reasoning_content"), str):
        step["reasoning_content"] = entry["reasoning_content"]
    calls = entry.get("tool_calls")
    found = (
        [_call(call) for call in calls if isinstance(call, Mapping)] if isinstance(calls, Sequence) else []
    )
    if found:
        step["tool_calls"] = found
    return step | _metrics(entry)


def _call(call: Mapping[str, Any]) -> dict[str, Any]:
    """A tool's call as chat interfaces word it."""
    function = call.get("function")
    function = function if isinstance(function, Mapping) else call
    arguments = function.get("arguments")
    if isinstance(arguments, str):
        try:
            arguments = json.loads(arguments)
        except ValueError:
            arguments = {"text": arguments}
    return {
        "tool_call_id": str(call.get("id")),
        "function_name": str(function.get("name")),
        "arguments": dict(arguments) if isinstance(arguments, Mapping) else {},
    }


def _caller(steps: Sequence[Step], name: Any) -> Step | None:
    """The step that made a call."""
    for step in reversed(steps):
        if any(call["tool_call_id"] == name for call in step.get("tool_calls", ())):
            return step
    return None


def _metrics(entry: Mapping[str, Any]) -> dict[str, Any]:
    found = _present(
        prompt_tokens=_count(entry.get("input_tokens")),
        completion_tokens=_count(entry.get("output_tokens")),
        cached_tokens=_count(entry.get("cache_read_tokens")),
        cost_usd=_figure(entry.get("cost")),
    )
    return {"metrics": found} if found else {}


def _step(event: Mapping[str, Any], source: str, message: str, extra: dict[str, Any] | None) -> Step:
    return {
        "step_id": 0,
        **_present(timestamp=event.get("timestamp")),
        "source": source,
        "message": message,
        **({"extra": extra} if extra else {}),
    }


def _figure(value: Any) -> int | float | None:
    return value if isinstance(value, int | float) and not isinstance(value, bool) else None


def _count(value: Any) -> int | None:
    """The format counts in whole numbers; a framework may not."""
    figure = _figure(value)
    return int(figure) if figure is not None and math.isfinite(figure) else None


def _text(value: Any) -> str:
    """A message's contents: text, parts of which some are text, or anything else as JSON."""
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    if isinstance(value, list) and all(isinstance(part, Mapping) for part in value):
        return "\n".join(part["text"] for part in value if isinstance(part.get("text"), str))
    return json.dumps(value, ensure_ascii=False)


def _present(**fields: Any) -> dict[str, Any]:
    """Those that are known: the format has no nulls to spare."""
    return {name: value for name, value in fields.items() if value is not None}
