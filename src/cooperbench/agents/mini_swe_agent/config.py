"""mini-swe-agent's settings: its own defaults under ours under the user's YAML file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cooperbench.errors import UsageError

SECTIONS = ("agent", "model", "environment", "compaction")

_AGENT = {
    "system_template": "{{ system }}",
    "instance_template": "{{ prompt }}",
    "step_limit": 100,
    "cost_limit": 3.0,
}
_ENVIRONMENT = {"timeout": 300}
_OURS = {
    "agent": ("agent_class", "output_path"),
    "model": ("model_name", "model_class"),
    "environment": ("environment_class", "cwd", "image"),
}
"""Keys that are for the harness to say; those of the framework's own files are passed over."""


@dataclass(frozen=True, slots=True)
class Compaction:
    """When the conversation is summed up, and how much of it is kept as it was."""

    above_tokens: int
    keep_turns: int


@dataclass(frozen=True, slots=True)
class Config:
    """What the framework's parts are made with."""

    agent: Mapping[str, Any]
    model: Mapping[str, Any]
    timeout: float
    """Seconds one command may take."""
    env: Mapping[str, str]
    compaction: Compaction | None


def read_config(path: Path | None) -> Config:
    """The settings for a run; the framework must have been imported.

    Raises:
        UsageError: the file is not a configuration.
    """
    own = _read(path) if path is not None else {}
    theirs = _read(_builtin())
    agent = {**_AGENT, **_section(own, "agent", path)}
    model = {**_of_theirs(theirs, "model"), **_section(own, "model", path)}
    environment = {**_ENVIRONMENT, **_section(own, "environment", path)}
    env = {**_of_theirs(theirs, "environment").get("env", {}), **environment.get("env", {})}
    env.pop("BASH_ENV", None)  # names a file of the images that default is written for
    return Config(
        agent,
        model,
        _number(environment["timeout"], "environment.timeout", path),
        {str(name): str(value) for name, value in env.items()},
        _compaction(_section(own, "compaction", path), path),
    )


def _compaction(section: Mapping[str, Any], path: Path | None) -> Compaction | None:
    if not section:
        return None
    unknown = section.keys() - {"above_tokens", "keep_turns"}
    if unknown:
        raise UsageError(f"{path}: compaction has above_tokens and keep_turns, not {sorted(unknown)[0]!r}")
    above = _number(section.get("above_tokens", 28_000), "compaction.above_tokens", path)
    return Compaction(int(above), int(_number(section.get("keep_turns", 2), "compaction.keep_turns", path)))


def _builtin() -> Path:
    from minisweagent.config import builtin_config_dir

    return Path(builtin_config_dir) / "benchmarks" / "swebench.yaml"


def _read(path: Path) -> Mapping[str, Any]:
    import yaml

    try:
        found = yaml.safe_load(path.read_text("utf-8"))
    except (OSError, ValueError, yaml.YAMLError) as problem:
        raise UsageError(
            f"agent configuration {path} cannot be read: {' '.join(str(problem).split())}"
        ) from problem
    if found is None:
        return {}
    if not isinstance(found, dict):
        raise UsageError(
            f"agent configuration {path} is not a mapping; it has the sections {', '.join(SECTIONS)}"
        )
    return found


def _section(own: Mapping[str, Any], name: str, path: Path | None) -> dict[str, Any]:
    """One section of the user's file, checked.

    Raises:
        UsageError: a section there is not, or a key the harness alone may set.
    """
    for key in own:
        if key not in (*SECTIONS, "run"):  # `run` is for the framework's own command line
            raise UsageError(
                f"agent configuration {path}: unknown section {key!r}; there are {', '.join(SECTIONS)}"
            )
    section = own.get(name) or {}
    if not isinstance(section, dict):
        raise UsageError(f"agent configuration {path}: {name} is not a mapping")
    return {key: value for key, value in section.items() if key not in _OURS.get(name, ())}


def _of_theirs(theirs: Mapping[str, Any], name: str) -> dict[str, Any]:
    section = theirs.get(name)
    dropped = _OURS.get(name, ())
    return (
        {key: value for key, value in section.items() if key not in dropped}
        if isinstance(section, dict)
        else {}
    )


def _number(value: Any, what: str, path: Path | None) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or value <= 0:
        raise UsageError(f"agent configuration {path}: {what} is a number above 0, not {value!r}")
    return float(value)
