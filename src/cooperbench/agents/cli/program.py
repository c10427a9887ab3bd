"""What all command-line agents have in common. Each says how it is called, and what its events mean."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from cooperbench.agents.base import ERROR, LIMITS_EXCEEDED, SUBMITTED, AgentResult, Assignment, Mailbox
from cooperbench.agents.bridge import run_bridged
from cooperbench.agents.cli.packages import Package, version_of
from cooperbench.agents.prompting import prompt
from cooperbench.errors import AgentError, UsageError
from cooperbench.eval.backends import shell
from cooperbench.eval.backends.base import Completed, Recipe, Sandbox
from cooperbench.gateway import Line

KEYS = ("version", "args", "env", "program")


@dataclass(frozen=True, slots=True)
class Options:
    """What ``--agent-config`` may say: a JSON or TOML file."""

    version: str | None = None
    """The package's version; None for the one this release was tried with."""
    args: tuple[str, ...] = ()
    """More arguments for the program."""
    env: Mapping[str, str] = field(default_factory=dict)
    program: str | None = None
    """The program's path in images that have it already; nothing is installed then."""


@dataclass(frozen=True, slots=True)
class Work:
    """What one agent is given, as its program's arguments are made from it."""

    assignment: Assignment
    line: Line
    prompt: str
    options: Options


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a program says it ended."""

    status: str = ERROR
    error: str | None = None


class CliAgent:
    """A program that is its own agent. Subclasses give the four things below and `end`."""

    uses_gateway = True
    name: str
    package: Package
    program: str
    """The executable, below the package's directory."""
    dialects: tuple[str, ...]

    def command(self, work: Work) -> list[str]:
        """Its arguments, the program itself not included."""
        raise NotImplementedError

    def environment(self, work: Work) -> dict[str, str]:
        """What it has to find in its environment; ``@GATEWAY@`` is the gateway's address."""
        raise NotImplementedError

    def files(self, work: Work) -> dict[str, bytes]:
        """Files it has to find in its sandbox, by absolute path."""
        del work
        return {}

    def end(self, events: Sequence[Mapping[str, Any]]) -> Outcome | None:
        """How it ended, by what it printed; None when it did not come to say."""
        raise NotImplementedError

    def commands(self, event: Mapping[str, Any]) -> str | None:
        """The shell command an event tells of, if it does."""
        del event
        return None

    # ------------------------------------------------------------------------------------------ the same for all

    def check_config(self, path: Path | None) -> None:
        """Look at ``--agent-config`` before anything runs.

        Raises:
            UsageError: it says something there is not.
        """
        read_options(path)

    def image_layer(self, image: str, config: Path | None) -> tuple[str, Recipe] | None:
        """The image to work in, in place of `image`, and how it is made; None when the program is in there already.

        Raises:
            UsageError: the program cannot be had.
        """
        options = read_options(config)
        if options.program is not None:
            return None
        package = self._package(options)
        return package.image(image), package.recipe(image)

    def run(self, assignment: Assignment, sandbox: Sandbox, mailbox: Mailbox) -> AgentResult:
        """Let the program work.

        Raises:
            AgentError: no line to a model, or the program is not in the sandbox.
        """
        del mailbox  # the program has `coop`
        if assignment.line is None:
            raise AgentError(f"agent {self.name!r} has no line to a model: it needs one, see --model")
        options = read_options(assignment.config)
        work = Work(assignment, assignment.line, prompt(assignment), options)
        program = options.program or f"{self._package(options).directory}/{self.program}"
        if shell.run(sandbox, ["test", "-x", program]).returncode != 0 and "/" in program:
            raise AgentError(
                f"{program} is not in this sandbox: its backend cannot add to images, and the image has none"
            )
        shell.put_files(sandbox, self.files(work))
        done = run_bridged(
            sandbox,
            assignment.line,
            [program, *self.command(work), *options.args],
            env={**self.environment(work), "AGENT_ID": assignment.agent_id, **options.env},
            cwd=assignment.workdir,
            timeout=assignment.timeout,
        )
        return self._result(done, assignment)

    def _package(self, options: Options) -> Package:
        return replace(self.package, version=options.version) if options.version else self.package

    def _result(self, done: Completed, assignment: Assignment) -> AgentResult:
        line = assignment.line
        assert line is not None
        events = list(read_events(done.stdout))
        outcome = self.end([event for _, event in events])
        if done.timed_out:
            outcome = Outcome(LIMITS_EXCEEDED, f"over its time limit of {assignment.timeout:g} s")
        elif line.over_limit is not None:
            outcome = Outcome(LIMITS_EXCEEDED, line.over_limit)
        elif outcome is None or (outcome.status == SUBMITTED and done.returncode != 0):
            outcome = Outcome(ERROR, f"it ended with exit code {done.returncode}: {_last_line(done)}")
        messages = [self._message(moment, event) for moment, event in events]
        return AgentResult(outcome.status, None, line.figures().calls, messages=messages, error=outcome.error)

    def _message(self, moment: float, event: Mapping[str, Any]) -> dict[str, Any]:
        command = self.commands(event)
        return {**event, "timestamp": moment, **({"command": command} if command is not None else {})}


def read_options(path: Path | None) -> Options:
    """``--agent-config`` of a command-line agent.

    Raises:
        UsageError: it is not one.
    """
    if path is None:
        return Options()
    content = _read(path)
    for key in content:
        if key not in KEYS:
            raise UsageError(f"agent configuration {path}: unknown key {key!r}; there are {', '.join(KEYS)}")
    args, env, program = content.get("args", []), content.get("env", {}), content.get("program")
    if not isinstance(args, list) or not all(isinstance(word, str) for word in args):
        raise UsageError(f"agent configuration {path}: args is a list of texts")
    if not isinstance(env, dict) or not all(isinstance(value, str) for value in env.values()):
        raise UsageError(f"agent configuration {path}: env is a table of texts")
    if program is not None and (not isinstance(program, str) or not program):
        raise UsageError(f"agent configuration {path}: program is a path in the image")
    version = version_of(content["version"], f"agent configuration {path}") if "version" in content else None
    return Options(version, tuple(args), env, program)


def _read(path: Path) -> Mapping[str, Any]:
    import tomllib

    try:
        text = path.read_text("utf-8")
        content = tomllib.loads(text) if path.suffix == ".toml" else json.loads(text)
    except (OSError, ValueError, RecursionError) as problem:
        raise UsageError(f"agent configuration {path} cannot be read as JSON or TOML: {problem}") from problem
    if not isinstance(content, dict):
        raise UsageError(f"agent configuration {path} holds no table; it may have {', '.join(KEYS)}")
    return content


def read_events(output: bytes) -> Iterator[tuple[float, dict[str, Any]]]:
    """What a program printed, line by line: when, and the event. What is no JSON object is an event of its own."""
    for line in output.splitlines():
        stamp, _, rest = line.partition(b" ")
        try:
            moment = float(stamp)
        except ValueError:
            continue  # the note at the head of output that was cut
        try:
            event = json.loads(rest)
        except (ValueError, RecursionError):
            event = None
        if isinstance(event, dict):
            yield moment, event
        elif rest.strip():
            yield moment, {"type": "text", "text": rest.decode("utf-8", "replace")}


def _last_line(done: Completed) -> str:
    lines = (done.stderr_read().strip() or done.stdout_read().strip()).splitlines()
    return lines[-1][:300] if lines else "it printed nothing"
