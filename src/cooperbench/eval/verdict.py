"""What a judgement found: plain values, and how ``eval.json`` writes them. `facts` makes them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from cooperbench.eval.integrity import Finding

SCHEMA = 1


@dataclass(frozen=True, slots=True)
class FeatureResult:
    """One feature's hidden tests on one tree."""

    feature_id: int
    passed: bool
    reason: str
    """Why not; empty when it passed."""
    exit_code: int | None
    tests_passed: int
    tests_failed: int
    tests_total: int
    framework: str | None
    seconds: float
    log: str | None
    """File name of the whole log, beside ``eval.json``."""
    test_output: str
    """The log's end, for a first look."""


@dataclass(frozen=True, slots=True)
class Merge:
    """What became of putting the patches together."""

    status: str
    """`clean`, `identical`, `conflicts`, `missing_input` (a patch did not apply), `empty` (no agent wrote anything);
    `unknown` when the judge itself was ended."""
    strategy: str | None
    """The rule that gave the result: `git` or `union`; None when nothing was merged."""
    files: tuple[str, ...] = ()
    """Conflicting files."""
    diff: str = ""
    """The merged change's first characters."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """Everything a judgement found, and everything it depends on."""

    repo: str
    task_id: int
    features: tuple[int, ...]
    setting: str
    passed: bool
    reason: str
    apply_status: Mapping[str, str]
    merge: Merge
    results: tuple[FeatureResult, ...]
    alone: tuple[FeatureResult, ...]
    """Each agent's patch by itself on its own feature's tests, when asked for."""
    dropped: Mapping[str, tuple[str, ...]]
    integrity: tuple[Finding, ...]
    rules: Mapping[str, str]
    image: Mapping[str, str | None]
    inputs: Mapping[str, str]
    base: str | None
    timings: Mapping[str, float]
    backend: str = ""
    evaluated_at: str = ""

    def to_json(self) -> dict[str, Any]:
        """``eval.json``: the keys scripts know, and ours."""
        by_feature: dict[str, Any] = {f"feature{n}": _members(r) for n, r in enumerate(self.results, 1)}
        return {
            "schema": SCHEMA,
            "repo": self.repo,
            "task_id": self.task_id,
            "features": list(self.features),
            "setting": self.setting,
            "passed": self.passed,
            "both_passed": self.passed,
            "reason": self.reason,
            "apply_status": dict(self.apply_status),
            "merge": {**_members(self.merge), "files": list(self.merge.files)}
            if self.setting != "solo"
            else None,
            **by_feature,
            "independent": [_members(r) for r in self.alone],
            "dropped": {agent: list(files) for agent, files in self.dropped.items()},
            "integrity": [_members(finding) for finding in self.integrity],
            "rules": dict(self.rules),
            "image": dict(self.image),
            "inputs": dict(self.inputs),
            "base": self.base,
            "timings": dict(self.timings),
            "backend": self.backend,
            "error": None,
            "evaluated_at": self.evaluated_at,
        }


def _members(value: FeatureResult | Merge | Finding) -> dict[str, Any]:
    # Not `asdict`, which copies every member deeply and takes ten times as long: these are plain values.
    return {name: getattr(value, name) for name in value.__slots__}
