"""Agents written for earlier releases: they make their own sandbox of the image and hand a patch over.

Their class has ``run(task, image, *, agent_id, …)`` and returns something with ``status``, ``patch`` and figures. Here
it is run as it is, and its patch applied in our sandbox, from where the runner takes every agent's work.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from functools import lru_cache
from typing import Any

from cooperbench.agents.base import ERROR, AgentResult, Assignment, Mailbox
from cooperbench.errors import AgentError
from cooperbench.eval.backends import shell
from cooperbench.eval.backends.base import Sandbox

_PATCH = "/tmp/.cooperbench-agent/patch"
_TIMEOUT = 300
_FIGURES = ("cost", "input_tokens", "output_tokens", "cache_read_tokens", "cache_write_tokens", "error")


@dataclass
class RunnerResult:
    """What such a class returns; earlier releases had it as `cooperbench.agents.AgentResult`."""

    status: str
    patch: str = ""
    cost: float | None = None
    steps: int = 0
    input_tokens: int | None = None
    output_tokens: int | None = None
    cache_read_tokens: int | None = None
    cache_write_tokens: int | None = None
    messages: list[dict[str, Any]] = field(default_factory=list)
    sent_messages: list[dict[str, Any]] = field(default_factory=list)
    error: str | None = None


def is_runner_style(agent: Any) -> bool:
    """Whether this is such a class's object: its `run` takes an image, and no sandbox."""
    return _takes_an_image(getattr(agent.run, "__func__", agent.run))


@lru_cache(maxsize=64)
def _takes_an_image(run: Any) -> bool:  # remembered: every agent of a run asks about the same function
    try:
        parameters = inspect.signature(run).parameters
    except (TypeError, ValueError):
        return False
    return "image" in parameters and "sandbox" not in parameters


class RunnerStyleAgent:
    """One of them as an `Agent`. It has no sandbox of ours to talk from: with ``--redis`` it reaches the bus there."""

    uses_messages = False

    def __init__(self, inner: Any) -> None:
        self._inner = inner
        self.uses_model = getattr(inner, "uses_model", True)

    def run(self, assignment: Assignment, sandbox: Sandbox, mailbox: Mailbox) -> AgentResult:
        """Let it work, then apply what it hands over.

        Raises:
            AgentError: it returned nothing usable, or its patch does not apply.
        """
        del mailbox
        answer = self._inner.run(assignment.instructions, assignment.image, **_arguments(assignment))
        told = _told(answer)
        if not isinstance(told.get("status"), str):
            raise AgentError(f"the agent returned {type(answer).__name__}, which has no status")
        if told["status"] != ERROR:
            _apply(sandbox, assignment.workdir, told.get("patch") or "")
        messages = told.get("messages")
        return AgentResult(
            told["status"],
            steps=told.get("steps") or 0,
            messages=messages if isinstance(messages, list) else (),
            **{name: told.get(name) for name in _FIGURES},
        )


def _told(answer: Any) -> Mapping[str, Any]:
    """What it returned, object or mapping, by name."""
    if isinstance(answer, Mapping):
        return answer
    return {one.name: getattr(answer, one.name) for one in fields(RunnerResult) if hasattr(answer, one.name)}


def _arguments(assignment: Assignment) -> dict[str, Any]:
    return {
        "agent_id": assignment.agent_id,
        "model_name": assignment.model,
        "agents": sorted([assignment.agent_id, *assignment.teammates]),
        "comm_url": assignment.bus_url,
        "git_server_url": None,
        "git_enabled": False,
        "messaging_enabled": assignment.means.messages and assignment.bus_url is not None,
        "config": {},
        "agent_config": str(assignment.config) if assignment.config is not None else None,
        "log_dir": str(assignment.output_dir) if assignment.output_dir is not None else None,
    }


def _apply(sandbox: Sandbox, workdir: str, patch: str | bytes) -> None:
    content = patch if isinstance(patch, bytes) else patch.encode("utf-8", "surrogateescape")
    if not content.strip():
        return
    # Many such agents strip what git printed; a patch without its last line's end is no patch.
    shell.put_files(sandbox, {_PATCH: content if content.endswith(b"\n") else content + b"\n"})
    command = ["git", "apply", "--whitespace=nowarn"]
    for way in ([], ["--3way"]):
        done = shell.run(sandbox, [*command, *way, _PATCH], cwd=workdir, timeout=_TIMEOUT)
        if done.returncode == 0:
            return
    raise AgentError(
        f"the patch the agent returned does not apply: {' '.join(done.stderr_read().split())[:300]}"
    )
