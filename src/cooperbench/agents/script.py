"""The agent that replays: a shell script, or a recorded list of commands, run inside the sandbox.

Given a directory, it looks for ``<repo>/task<id>/<f1_f2>/<agent_id>`` below it, then for ``<agent_id>``; given a
file, it takes that. ``.sh`` is run as one program; ``.json`` (a list) and ``.jsonl`` hold steps
``{"command": "…"}``, each run by a shell of its own.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cooperbench.agents.base import ERROR, LIMITS_EXCEEDED, SUBMITTED, AgentResult, Assignment, Mailbox
from cooperbench.errors import AgentError
from cooperbench.eval.backends import shell
from cooperbench.eval.backends.base import Completed, Sandbox

SUFFIXES = (".sh", ".json", ".jsonl")

_PROGRAM = "/tmp/.script/{}.sh"
_KEPT = 64 * 1024
"""Bytes of each stream kept in the transcript."""


class ScriptAgent:
    """Replays what a file says."""

    uses_model = False
    needs_config = "a script, a recording, or a directory of them"

    def run(self, assignment: Assignment, sandbox: Sandbox, mailbox: Mailbox) -> AgentResult:
        """Run the script or the steps. A step that fails is part of the replay; a script that fails is an error.

        Raises:
            AgentError: no script for this agent, or it cannot be read.
        """
        del mailbox  # the script has `coop`
        path = find_script(assignment)
        if path.suffix == ".sh":
            return _run_script(path, assignment, sandbox)
        return _replay(read_steps(path), assignment, sandbox)


def find_script(assignment: Assignment) -> Path:
    """The file this agent is to replay.

    Raises:
        AgentError: there is none; the message says where it was looked for.
    """
    root = assignment.config
    if root is None:
        raise AgentError("agent 'script' needs --agent-config: a script, a recording, or a directory of them")
    if root.is_file() and root.suffix in SUFFIXES:
        return root
    key = "_".join(f"f{number}" for number in assignment.pair)
    own = root / assignment.repo / f"task{assignment.task_id}" / key
    for folder in (own, root):
        for suffix in SUFFIXES:
            if (found := folder / f"{assignment.agent_id}{suffix}").is_file():
                return found
    names = ", ".join(f"{assignment.agent_id}{suffix}" for suffix in SUFFIXES)
    raise AgentError(f"no script for {assignment.agent_id}: none of {names} in {own} or {root}")


def read_steps(path: Path) -> list[str]:
    """The commands of a recording.

    Raises:
        AgentError: it cannot be read as one.
    """
    try:
        text = path.read_text(encoding="utf-8")
        lines = text.splitlines() if path.suffix == ".jsonl" else None
        steps = json.loads(text) if lines is None else [json.loads(line) for line in lines if line.strip()]
    except (OSError, ValueError, RecursionError) as problem:
        raise AgentError(f"{path} is not a recording: {problem}") from problem
    if not isinstance(steps, list):
        raise AgentError(f"{path} is not a recording: a list of {{'command': …}} is expected")
    return [_command(step, f"{path} step {number}") for number, step in enumerate(steps, 1)]


def _command(step: object, where: str) -> str:
    command = step.get("command") if isinstance(step, Mapping) else None
    if not isinstance(command, str) or "\0" in command:
        raise AgentError(f"{where}: 'command' must be a string without NUL")
    return command


def _run_script(path: Path, assignment: Assignment, sandbox: Sandbox) -> AgentResult:
    place = _PROGRAM.format(assignment.agent_id)
    shell.put_files(sandbox, {place: path.read_bytes()})
    begun = time.time()
    done = _run(sandbox, ["sh", place], assignment, assignment.timeout)
    step = _step(f"sh {path.name}", done, begun)
    if done.timed_out:
        return AgentResult(LIMITS_EXCEEDED, 0.0, 1, messages=(step,), error=_over(assignment))
    if done.returncode != 0:
        error = f"{path.name} ended with exit code {done.returncode}: {_last_line(done)}"
        return AgentResult(ERROR, 0.0, 1, messages=(step,), error=error)
    return AgentResult(SUBMITTED, 0.0, 1, messages=(step,))


def _replay(commands: list[str], assignment: Assignment, sandbox: Sandbox) -> AgentResult:
    deadline = time.monotonic() + assignment.timeout
    steps: list[dict[str, Any]] = []
    for command in commands:
        left, begun = deadline - time.monotonic(), time.time()
        done = _run(sandbox, ["sh", "-c", command], assignment, left) if left > 0 else None
        if done is not None:
            steps.append(_step(command, done, begun))
        if done is None or done.timed_out:
            return AgentResult(LIMITS_EXCEEDED, 0.0, len(steps), messages=steps, error=_over(assignment))
    return AgentResult(SUBMITTED, 0.0, len(steps), messages=steps)


def _run(sandbox: Sandbox, command: list[str], assignment: Assignment, timeout: float) -> Completed:
    env = {"AGENT_ID": assignment.agent_id}
    return shell.run(sandbox, command, cwd=assignment.workdir, env=env, timeout=timeout)


def _step(command: str, done: Completed, begun: float) -> dict[str, Any]:
    return {
        "timestamp": begun,
        "command": command,
        "exit_code": done.returncode,
        "stdout": done.stdout[-_KEPT:].decode("utf-8", "replace"),
        "stderr": done.stderr[-_KEPT:].decode("utf-8", "replace"),
        "timed_out": done.timed_out,
    }


def _over(assignment: Assignment) -> str:
    return f"over its time limit of {assignment.timeout:g} s"


def _last_line(done: Completed) -> str:
    lines = (done.stderr_read().strip() or done.stdout_read().strip()).splitlines()
    return lines[-1][:300] if lines else "it printed nothing"
