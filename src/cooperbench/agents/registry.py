"""How a name becomes an agent.

In this order: registered with `register_agent`, built in, an entry point in group ``cooperbench.agents``, and
``"package.module:Class"``. Modules named in the environment variable ``COOPERBENCH_EXTERNAL_AGENTS`` (a comma
list) are imported first; they call `register_agent` while they are. Nothing is imported before a name is asked for.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import TYPE_CHECKING, Any, cast

from cooperbench.agents import runner_style
from cooperbench.agents.base import Agent
from cooperbench.errors import CooperBenchError, MissingExtra, UsageError

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

ENTRY_POINT_GROUP = "cooperbench.agents"
EXTERNAL = "COOPERBENCH_EXTERNAL_AGENTS"

_BUILT_IN = {
    "mini_swe_agent": "cooperbench.agents.mini_swe_agent:MiniSweAgent",
    "claude_code": "cooperbench.agents.cli.claude_code:ClaudeCode",
    "codex": "cooperbench.agents.cli.codex:Codex",
    "gemini_cli": "cooperbench.agents.cli.gemini_cli:GeminiCli",
    "opencode": "cooperbench.agents.cli.opencode:OpenCode",
    "gold": "cooperbench.agents.gold:GoldAgent",
    "noop": "cooperbench.agents.noop:NoopAgent",
    "script": "cooperbench.agents.script:ScriptAgent",
}
_ALSO = {"mini_swe_agent_v2": "mini_swe_agent"}
"""Second names, of earlier releases."""
_OPENHANDS = "openhands-sdk wants Python 3.12, and CooperBench runs on 3.11 too"
_ELSEWHERE = {
    "openhands": _OPENHANDS,
    "openhands_sdk": _OPENHANDS,
    "swe_agent": "the package index has sweagent 0.0.1 alone, which needs togetherunidiff, which nobody has",
}
"""Documented names without an adapter here → why there is none, as found on the package index."""

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_.-]*")

_registered: dict[str, Callable[[], Any]] = {}


def get_agent(name: str) -> Agent:
    """A new agent of that name.

    Raises:
        UsageError: no such agent, or what the name leads to is not one. MissingExtra: its framework is missing.
    """
    return agent_factory(name)()


def agent_factory(name: str) -> Callable[[], Agent]:
    """What makes agents of that name: looked up once, called once for every agent of a run.

    Raises:
        UsageError, MissingExtra: as `get_agent`.
    """
    factory = _found(name)
    return lambda: _made(name, factory)


def _found(name: str) -> Callable[[], Any]:
    _import_external()
    if name in _registered:
        return _registered[name]
    name = _ALSO.get(name, name)
    if name in _BUILT_IN:
        return _resolve(_BUILT_IN[name], f"agent {name!r}")
    if (entry := _entry_points().get(name)) is not None:
        return _resolve(entry.value, f"entry point {name!r} ({entry.value})")
    if ":" in name:
        return _resolve(name, f"agent {name!r}")
    if name in _ELSEWHERE:
        raise UsageError(
            f"agent {name!r} has no adapter in this release ({_ELSEWHERE[name]}): put the framework behind a "
            "class of your own and name it as 'package.module:Class' (docs/agents.md)"
        )
    raise UsageError(
        f"agent {name!r} is unknown; there is {', '.join(list_agents())}, and your own as 'package.module:Class'"
    )


def register_agent(name: str, factory: Callable[[], Any] | None = None) -> Any:
    """Make `name` stand for what `factory` (a class or function without arguments) gives, in this process.

    Without `factory` it is a decorator: ``@register_agent("mine")``.
    """
    if not isinstance(name, str) or _NAME.fullmatch(name) is None:
        raise UsageError(
            f"{name!r} cannot name an agent: use a letter, then letters, digits, '_', '.' or '-'"
        )
    if factory is None:
        return lambda decorated: register_agent(name, decorated)
    if not callable(factory):
        raise UsageError(f"agent {name!r} cannot be registered: give a class or function, not {factory!r}")
    _registered[name] = factory
    return factory


register = register_agent
"""The name it had in earlier releases."""


def list_agents() -> tuple[str, ...]:
    """Every name `get_agent` knows here, built-in ones first."""
    _import_external()
    return (*_BUILT_IN, *sorted((_registered.keys() | _entry_points().keys()) - _BUILT_IN.keys()))


def _import_external() -> None:
    for module in filter(None, map(str.strip, os.environ.get(EXTERNAL, "").split(","))):
        try:
            import_module(module)
        except (Exception, SystemExit) as problem:  # other people's code
            raise UsageError(
                f"{EXTERNAL} names module {module!r}, which cannot be imported: {_told(problem)}"
            ) from problem


def _made(name: str, factory: Callable[[], Any]) -> Agent:
    try:
        agent = factory()
    except CooperBenchError:
        raise
    except (Exception, SystemExit) as problem:
        raise UsageError(f"agent {name!r} could not be made: {_told(problem)}") from problem
    if not callable(getattr(agent, "run", None)):
        kind = f"{type(agent).__module__}.{type(agent).__qualname__}"
        raise UsageError(f"agent {name!r} is not an agent: {kind} has no run()")
    if runner_style.is_runner_style(agent):
        return runner_style.RunnerStyleAgent(agent)
    return cast("Agent", agent)


def _resolve(target: str, what: str) -> Callable[[], Any]:
    if re.fullmatch(r"[\w.]+:[\w.]+", target) is None:
        raise UsageError(f"{what} is not of the form 'package.module:Class'")
    module, _, path = target.partition(":")
    try:
        found: Any = import_module(module)
        for attribute in path.split("."):
            found = getattr(found, attribute)
    except MissingExtra:
        raise
    except (Exception, SystemExit) as problem:
        raise UsageError(f"{what} cannot be loaded: {_told(problem)}") from problem
    if not callable(found):
        raise UsageError(f"{what} is {type(found).__name__}, not a class or function that makes an agent")
    return cast("Callable[[], Any]", found)


def _told(problem: BaseException) -> str:
    """What other people's code raised, with its type where the message alone would be a riddle."""
    plain = isinstance(problem, (ImportError, AttributeError, CooperBenchError))
    return str(problem) if plain else f"{type(problem).__name__}: {problem}"


def _entry_points() -> Mapping[str, EntryPoint]:
    # Imported here: it costs more than all the rest of this module, and most calls never come this far.
    from importlib.metadata import entry_points

    return {entry.name: entry for entry in entry_points(group=ENTRY_POINT_GROUP)}
