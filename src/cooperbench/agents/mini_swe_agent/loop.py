"""mini-swe-agent's loop, model and environment, each with what a teammate needs around it.

Importing this imports the framework: call `quiet_minisweagent` first.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

import litellm
from minisweagent.agents.default import AgentConfig, DefaultAgent
from minisweagent.exceptions import InterruptAgentFlow, LimitsExceeded, Submitted
from minisweagent.models.litellm_model import LitellmModel
from pydantic import BaseModel, ValidationError

from cooperbench.agents.base import ERROR, LIMITS_EXCEEDED, SUBMITTED, AgentResult, Assignment, Mailbox
from cooperbench.agents.mini_swe_agent.config import Config
from cooperbench.agents.prompting import mail, prompt
from cooperbench.errors import AgentError, BackendError
from cooperbench.eval.backends import shell
from cooperbench.eval.backends.base import Sandbox
from cooperbench.gateway import Line

DONE = "COMPLETE_TASK_AND_SUBMIT_FINAL_OUTPUT"
"""What the framework looks for on the first line of a command's output."""

_SYSTEM = (
    "You solve programming tasks with the one tool you have, a shell. "
    "Each command runs in a new shell: `cd` and variables do not last."
)
_FINISH = f"""
# When you have finished

Run `echo {DONE}` as a command of its own. Nothing can be changed after it.
"""
_SUM_UP = (
    "The conversation so far is getting too long and will be replaced by what you write now. Write down everything "
    "needed to go on: what is to be built, what you found out, what you have done, what is left, and what was agreed "
    "with teammates."
)


def carry_out(config: Config, assignment: Assignment, sandbox: Sandbox, mailbox: Mailbox) -> AgentResult:
    """One agent's work from prompt to submission.

    Raises:
        AgentError: the framework refuses its configuration. BackendError: the sandbox is lost.
    """
    line = assignment.line
    assert line is not None
    try:
        model = _Model(line, config.model)
        loop = _Loop(model, _Environment(config, assignment, sandbox), config, assignment, mailbox)
    except (ValidationError, TypeError) as problem:
        raise AgentError(
            f"mini-swe-agent does not take this configuration: {' '.join(str(problem).split())[:300]}"
        ) from problem
    words = {"system": _SYSTEM, "prompt": prompt(assignment, _FINISH), "agent_id": assignment.agent_id}
    team = {"agents": [assignment.agent_id, *assignment.teammates], "git_enabled": assignment.means.git}
    try:
        ended = loop.run(assignment.instructions, **words, **team)
    except BackendError:
        raise
    except Exception as problem:  # its model's client has many; the transcript is worth keeping
        if line.over_limit is None:
            return loop.result(ERROR, f"{type(problem).__name__}: {problem}"[:500])
        return loop.result(LIMITS_EXCEEDED, line.over_limit)
    status = str(ended.get("exit_status") or ERROR)
    if status in ("LimitsExceeded", "TimeExceeded"):
        return loop.result(LIMITS_EXCEEDED, line.over_limit or loop.limit)
    return loop.result(SUBMITTED if status == "Submitted" else status, None)


class _Model(LitellmModel):
    """The framework's model over one line: where it is, and what it cost, the line says."""

    abort_exceptions = [
        *LitellmModel.abort_exceptions,
        litellm.exceptions.BadRequestError,
        InterruptAgentFlow,
    ]

    def __init__(self, line: Line, settings: Mapping[str, Any]) -> None:
        dialect = next((name for name in line.dialects if name in ("chat", "messages")), "chat")
        reach = {"api_key": line.token, "api_base": f"{line.url}/v1" if dialect == "chat" else line.url}
        options = {**settings.get("model_kwargs", {}), **reach}
        caching = {"set_cache_control": "default_end"} if dialect == "messages" else {}
        provider = "openai" if dialect == "chat" else "anthropic"
        given = {**caching, **settings, "model_kwargs": options, "model_name": f"{provider}/{line.model}"}
        super().__init__(**given)
        self.line = line

    def sum_up(self, messages: Sequence[dict[str, Any]]) -> str:
        """A summary of a conversation, by the same model."""
        told = [*messages, {"role": "user", "content": _SUM_UP}]
        answer = litellm.completion(
            model=self.config.model_name,
            messages=self._prepare_messages_for_api(told),
            tools=[_NO_TOOL],  # some providers want the tools a conversation has used
            tool_choice="none",
            **self.config.model_kwargs,
        )
        return str(answer.choices[0].message.content or "")

    def _query(self, messages: list[dict[str, Any]], **options: Any) -> Any:
        try:
            return super()._query(messages, **options)
        except Exception as problem:
            if self.line.over_limit or self.line.trouble:
                raise LimitsExceeded(
                    _ended("LimitsExceeded", str(self.line.over_limit or self.line.trouble))
                ) from problem
            raise

    def _calculate_cost(self, response: Any) -> dict[str, float]:
        del response
        return {"cost": self.line.last_cost or 0.0}


_NO_TOOL = {
    "type": "function",
    "function": {
        "name": "bash",
        "parameters": {"type": "object", "properties": {"command": {"type": "string"}}},
    },
}


class _EnvironmentConfig(BaseModel):
    cwd: str
    env: dict[str, str]
    timeout: float


class _Environment:
    """The framework's environment over a sandbox."""

    def __init__(self, config: Config, assignment: Assignment, sandbox: Sandbox) -> None:
        self.config = _EnvironmentConfig(cwd=assignment.workdir, env=dict(config.env), timeout=config.timeout)
        self._sandbox = sandbox
        self._until = time.monotonic() + assignment.timeout
        bash = shell.run(sandbox, ["sh", "-c", "command -v bash"]).returncode == 0
        self._shell = "bash" if bash else "sh"

    def execute(self, action: Mapping[str, Any], cwd: str = "") -> dict[str, Any]:
        """Run one command; what it printed, both streams in the order they came."""
        command = str(action.get("command", ""))
        if "\0" in command:
            return {"output": "", "returncode": 2, "exception_info": "a command cannot hold a NUL byte"}
        seconds = max(1.0, min(self.config.timeout, self._until - time.monotonic()))
        done = shell.run(
            self._sandbox,
            ["sh", "-c", 'exec 2>&1; exec "$0" -c "$1"', self._shell, command],
            cwd=cwd or self.config.cwd,
            env=self.config.env,
            timeout=seconds,
        )
        late = f"ended after {seconds:g} s, its time limit" if done.timed_out else ""
        output = done.stdout_read()
        if done.returncode == 0 and output.lstrip().startswith(DONE):
            raise Submitted(_ended("Submitted", output.lstrip().partition("\n")[2]))
        return {"output": output, "returncode": done.returncode, "exception_info": late}

    def get_template_vars(self, **more: Any) -> dict[str, Any]:
        """What templates may name."""
        return {**self.config.model_dump(), **more}

    def serialize(self) -> dict[str, Any]:
        """Its part of the framework's own trajectory, which is not written."""
        return {}


class _Loop(DefaultAgent):
    """The framework's loop; between steps it looks for mail and, if asked to, sums the conversation up."""

    model: _Model

    def __init__(
        self,
        model: _Model,
        environment: _Environment,
        config: Config,
        assignment: Assignment,
        mailbox: Mailbox,
    ) -> None:
        seconds = int(assignment.timeout) or 1
        own = config.agent.get("wall_time_limit_seconds") or seconds
        super().__init__(model, environment, **{**config.agent, "wall_time_limit_seconds": min(own, seconds)})
        unknown = config.agent.keys() - AgentConfig.model_fields.keys()
        if unknown:
            raise TypeError(f"agent has no {sorted(unknown)[0]!r}")
        self._transcript: list[dict[str, Any]] = []
        self._compaction = config.compaction
        self._mailbox = mailbox if assignment.means.messages else None
        self._tasks = mailbox if assignment.means.refresh and assignment.means.tasks else None
        self._listed = ""

    @property
    def limit(self) -> str:
        """Which limit ended it."""
        if 0 < self.config.step_limit <= self.n_calls:
            return f"over its limit of {self.config.step_limit} steps"
        if 0 < self.config.cost_limit <= self.cost:
            return f"over its cost limit of ${self.config.cost_limit:g}"
        return f"over its time limit of {self.config.wall_time_limit_seconds} s"

    def add_messages(self, *messages: dict[str, Any]) -> list[dict[str, Any]]:
        """Also into a transcript that is never shortened."""
        now = time.time()
        self._transcript.extend({**message, "timestamp": now} for message in messages)
        return list(super().add_messages(*messages))

    def query(self) -> dict[str, Any]:
        """News first, then the model."""
        self._sum_up_if_long()
        self._show_news()
        return dict(super().query())

    def result(self, status: str, error: str | None) -> AgentResult:
        """What the harness keeps; the figures are the line's to give."""
        return AgentResult(
            status, None, self.n_calls, messages=[_plain(m) for m in self._transcript], error=error
        )

    def _show_news(self) -> None:
        if self._mailbox is not None and (messages := self._mailbox.receive()):
            self.add_messages(self.model.format_message(role="user", content=mail(messages)))
        if self._tasks is not None:
            lines = [
                f"{todo.number}. {todo.title} ({todo.status} {todo.owner or ''})".replace(" )", ")")
                for todo in self._tasks.tasks()
            ]
            listed = "\n".join(lines)
            if listed != self._listed:
                self._listed = listed
                self.add_messages(
                    self.model.format_message(role="user", content=f"The task list is now:\n\n{listed}")
                )

    def _sum_up_if_long(self) -> None:
        """Replace all but the first two messages and the last turns by a summary, when the last prompt was long."""
        turns = [index for index, message in enumerate(self.messages) if message["role"] == "assistant"]
        if self._compaction is None or len(turns) <= self._compaction.keep_turns:
            return
        usage = self.messages[turns[-1]].get("extra", {}).get("response", {}).get("usage") or {}
        if (usage.get("prompt_tokens") or 0) <= self._compaction.above_tokens:
            return
        cut = turns[-self._compaction.keep_turns]
        summary = self.model.sum_up(self.messages[:cut])
        self.cost += self.model.line.last_cost or 0.0
        head = self.messages[:2]
        told = {"role": "user", "content": f"What happened so far, in your own words:\n\n{summary}"}
        self._transcript.append({**told, "timestamp": time.time()})
        self.messages = [*head, told, *self.messages[cut:]]


def _plain(message: Mapping[str, Any]) -> dict[str, Any]:
    """One message of the transcript, without the raw answer it was made from."""
    extra = message.get("extra") or {}
    usage = (
        (extra.get("response") or {}).get("usage") or {} if isinstance(extra.get("response"), dict) else {}
    )
    kept = {key: value for key, value in message.items() if key != "extra" and value is not None}
    commands = [action.get("command") for action in extra.get("actions", ())]
    told = {
        "command": "\n".join(map(str, commands)) if commands else None,
        "exit_code": extra.get("returncode"),
        "cost": extra.get("cost") or None,
        "input_tokens": usage.get("prompt_tokens"),
        "output_tokens": usage.get("completion_tokens"),
        "exit_status": extra.get("exit_status"),
    }
    return {**kept, **{key: value for key, value in told.items() if value is not None}}


def _ended(status: str, text: str) -> dict[str, Any]:
    return {"role": "exit", "content": text, "extra": {"exit_status": status, "submission": ""}}
