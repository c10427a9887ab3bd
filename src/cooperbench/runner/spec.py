"""What was asked of `run`, as one frozen value; the same as ``config.json``: what ran is what is written."""

from __future__ import annotations

import hashlib
import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import cooperbench
from cooperbench.agents import prompting
from cooperbench.agents.base import Means
from cooperbench.dataset.model import Pair
from cooperbench.errors import RunConflict, UsageError
from cooperbench.eval.judging import Judging
from cooperbench.runner.means import means_of
from cooperbench.runner.models import ModelSpec
from cooperbench.runs import SETTINGS, RunDirectory, differences

DEFAULT_AGENT = "mini_swe_agent_v2"
DEFAULT_MODEL = "vertex_ai/gemini-3-flash-preview"
REDIS = "redis://localhost:6379"
"""Earlier releases' default, which their scripts pass: taken for not asked for, whatever listens there."""
SCHEMA = 1
_LONGEST = 30 * 24 * 3600
"""Seconds an agent may be given: 30 days."""


@dataclass(frozen=True, slots=True)
class RunSpec:
    """One invocation of `run`.

    Raises:
        UsageError: a value that makes no sense, or has no meaning in this release.
    """

    run_name: str
    setting: str
    agent: str
    model: str | None
    judging: Judging
    subset: str | None = None
    repo: str | None = None
    task_id: int | None = None
    features: tuple[int, ...] | None = None
    concurrency: int = 20
    eval_concurrency: int = 10
    force: bool = False
    auto_eval: bool = True
    messaging: bool = True
    git: bool = False
    redis: str | None = field(default=None, repr=False)
    """The server for agents outside the harness's process; its URL holds a password, and is not kept."""
    team_without: tuple[str, ...] = ()
    """What `team` is to do without, see `means.SWITCHES`."""
    agent_config: Path | None = None
    agent_timeout: float = 3600
    max_cost: float | None = None
    """US dollars after which no new trial starts."""
    max_trial_cost: float | None = None
    models: ModelSpec = field(default_factory=ModelSpec)
    prompts: Path | None = None
    """A directory of the user's own prompt templates."""

    def __post_init__(self) -> None:
        if self.setting not in SETTINGS:
            raise UsageError(f"unknown setting {self.setting!r}; there are {', '.join(SETTINGS)}")
        means_of(self.setting, self.messaging, self.git, self.team_without)
        for name, number in (("concurrency", self.concurrency), ("eval_concurrency", self.eval_concurrency)):
            if type(number) is not int or number < 1:
                raise UsageError(f"{name} must be a whole number above 0, not {number!r}")
        if not 0 < self.agent_timeout <= _LONGEST:
            raise UsageError(
                f"agent_timeout must be more than 0 seconds and at most {_LONGEST}, not {self.agent_timeout!r}"
            )
        if self.agent_config is not None and not self.agent_config.exists():
            raise UsageError(f"agent configuration {self.agent_config} does not exist")

    @property
    def means(self) -> Means:
        """What agents have to work together with."""
        return means_of(self.setting, self.messaging, self.git, self.team_without)

    @property
    def selection(self) -> dict[str, Any]:
        """What was chosen of the dataset, as it was asked for."""
        features = list(self.features) if self.features is not None else None
        return {"subset": self.subset, "repo": self.repo, "task_id": self.task_id, "features": features}


def refuse_unconfigured(name: str, agent: object, spec: RunSpec) -> None:
    """What an agent is given must be something it can use, before anything runs.

    Raises:
        UsageError: it needs a configuration and has none, or has one that is none; or prompt templates that are none.
    """
    config = spec.agent_config
    if config is None and (needed := getattr(agent, "needs_config", None)):
        raise UsageError(f"agent {name!r} needs --agent-config (agent_config): {needed}")
    if callable(check := getattr(agent, "check_config", None)):
        check(config)
    prompting.check(spec.prompts)


# ---------------------------------------------------------------------------------------------- config.json


def configuration(spec: RunSpec, backend: str, dataset: Path, pairs: Sequence[Pair]) -> dict[str, Any]:
    """Everything needed to repeat the run, as far as this invocation knows."""
    return {
        "schema": SCHEMA,
        "run_name": spec.run_name,
        "agent_framework": spec.agent,
        "model": spec.model,
        "setting": spec.setting,
        "backend": backend,
        "agent_config": _fingerprint(spec.agent_config) if spec.agent_config is not None else None,
        "agent_timeout": spec.agent_timeout,
        "max_cost": spec.max_cost,
        "max_trial_cost": spec.max_trial_cost,
        **spec.models.configuration(),
        "prompts": _fingerprint(spec.prompts) if spec.prompts is not None else None,
        "messaging_enabled": spec.messaging,
        "git_enabled": spec.git,
        "redis": spec.redis is not None,
        "team_without": sorted(set(spec.team_without)),
        "test_timeout": spec.judging.timeout,
        "rules": asdict(spec.judging.rules),
        "independent": spec.judging.independent,
        "concurrency": spec.concurrency,
        "eval_concurrency": spec.eval_concurrency,
        "auto_eval": spec.auto_eval,
        "total_tasks": len(pairs),
        "started_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "dataset": str(dataset),
        "selections": [spec.selection],
        "versions": [_versions()],
        "images": {},
        "pairs": _by_task(pairs),
    }


def joined(recorded: Mapping[str, Any] | None, wanted: Mapping[str, Any]) -> dict[str, Any]:
    """The configuration of a run that goes on: what it was started with, and what this invocation adds."""
    if recorded is None:
        return dict(wanted)
    pairs = {
        task: list(keys) for task, keys in _mapping(recorded.get("pairs")).items() if isinstance(keys, list)
    }
    for task, keys in wanted["pairs"].items():
        known = pairs.setdefault(task, [])
        seen = set(known)
        known.extend(key for key in keys if key not in seen)
    return {
        **wanted,
        "started_at": recorded.get("started_at") or wanted["started_at"],
        "selections": _added(recorded.get("selections"), wanted["selections"]),
        "versions": _added(recorded.get("versions"), wanted["versions"]),
        "images": {**_mapping(recorded.get("images")), **wanted["images"]},
        "pairs": pairs,
        "total_tasks": sum(map(len, pairs.values())),
    }


def refuse_another_experiment(run: RunDirectory, wanted: Mapping[str, Any]) -> None:
    """Two experiments under one name would be counted as one.

    Raises:
        RunConflict: the run was started with other settings; the message shows which. UsageError: with which is
            not known, for its record is damaged.
    """
    changed = differences(run.agreed_config(), wanted)
    if changed:
        raise RunConflict(
            f"run {run.name!r} was started with other settings: {'; '.join(changed)}; "
            f"choose another run name, or remove {run.path}"
        )


def _by_task(pairs: Sequence[Pair]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for pair in pairs:
        found.setdefault(f"{pair.repo}/{pair.task_id}", []).append(",".join(map(str, pair.features)))
    return found


def _fingerprint(path: Path) -> dict[str, str]:
    """A file or directory by its contents."""
    digest = hashlib.sha256()
    for file in [path] if path.is_file() else sorted(file for file in path.rglob("*") if file.is_file()):
        content = file.read_bytes()
        name = file.relative_to(path).as_posix() if file != path else ""
        digest.update(f"{name}\0{len(content)}\0".encode("utf-8", "surrogateescape") + content)
    return {"path": str(path), "sha256": digest.hexdigest()}


def _versions() -> dict[str, str]:
    return {
        "cooperbench": cooperbench.__version__,
        "python": platform.python_version(),
        "platform": platform.platform(),
    }


def _added(recorded: Any, new: list[Any]) -> list[Any]:
    known = recorded if isinstance(recorded, list) else []
    return known + [item for item in new if item not in known]


def _mapping(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}
