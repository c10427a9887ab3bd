"""From (task, patches, rules) to a Job: pure, the same on every backend. Running it is `shell.run_job`'s business,
reading what comes back is `facts`'s."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources

from cooperbench.dataset.model import Pair, Task
from cooperbench.errors import UsageError
from cooperbench.eval.integrity import RULES as INTEGRITY_RULES
from cooperbench.eval.integrity import Finding, apply_rule
from cooperbench.eval.job import Job
from cooperbench.patches import keep_for_judging

MERGE_RULES = ("git", "union")
REPOSITORY = "/workspace/repo"
RUNNER = "/usr/local/bin/runner.sh"
_PARTS = ("judge.sh", "git.sh", "merge.sh", "suite.sh", "main.sh")
_MARGIN = 120.0
"""Seconds a judgement may take beside its tests: git on the largest repositories, slow disks."""


@dataclass(frozen=True, slots=True)
class Rules:
    """The named choices a verdict depends on; kept in it.

    Raises:
        UsageError: no rule of that name.
    """

    merge: str = "git"
    """`git`: a plain three-way merge, a conflict fails the trial. `union`: on conflict, both sides' lines are kept."""
    integrity: str = "report"
    """`report`: what could steer a test run is kept and reported. `drop`: it is taken out as well."""

    def __post_init__(self) -> None:
        for kind, value, known in (
            ("merge", self.merge, MERGE_RULES),
            ("integrity", self.integrity, INTEGRITY_RULES),
        ):
            if value not in known:
                raise UsageError(f"unknown {kind} rule {value!r}; there are {', '.join(known)}")


@dataclass(frozen=True, slots=True)
class Plan:
    """A Job and what is known of it before it runs."""

    job: Job
    task: Task
    pair: Pair
    setting: str
    rules: Rules
    agents: tuple[str, ...]
    """One name for each patch, in the Job's order."""
    tests: tuple[int, ...]
    """The feature number of each tests patch, in the Job's order."""
    tests_patches: tuple[bytes, ...]
    dropped: Mapping[str, tuple[str, ...]]
    """By agent: files taken out of its patch because tests are the benchmark's."""
    findings: tuple[Finding, ...]
    inputs: Mapping[str, str]
    """What the verdict depends on, by name: sha256 of every patch, the image's digest, rules, limits, the judge."""


@cache
def judge_program() -> bytes:
    """The shell program that judges, whole."""
    folder = resources.files("cooperbench.eval") / "judge"
    return b"\n".join((folder / part).read_bytes() for part in _PARTS)


@cache
def _judge_digest() -> str:
    return _sha256(judge_program())


def plan_trial(
    task: Task,
    pair: Pair,
    patches: Mapping[int, bytes],
    setting: str,
    rules: Rules,
    *,
    timeout: float = 600,
    alone: bool = False,
    image_digest: str | None = None,
    labels: Mapping[str, str] | None = None,
) -> Plan:
    """A trial: `patches` by feature number (`coop`) or one under 0 (`solo`), every feature's tests on the merge.

    Args:
        timeout: seconds for each run of a feature's tests.
        alone: also each agent's patch without the others' on its own feature's tests.
    """
    owners = tuple(sorted(patches))
    agents = tuple(f"agent{n}" for n in range(1, len(owners) + 1))
    tests = {n: task.features[n].tests_patch for n in pair.features}
    judged, dropped, findings = _admit(agents, [patches[n] for n in owners], list(tests.values()), rules)
    inputs = {
        **{f"{agent}.patch": _sha256(patches[owner]) for agent, owner in zip(agents, owners, strict=True)},
        **{f"feature{n}.tests": _sha256(patch) for n, patch in tests.items()},
        "image": image_digest or task.image,
        "merge_rule": rules.merge,
        "integrity_rule": rules.integrity,
        "timeout": str(_whole(timeout)),
        "alone": str(alone),
        "judge": _judge_digest(),
    }
    job = _job(
        task,
        judged,
        list(tests.values()),
        mode="alone" if alone else "trial",
        rule=rules.merge,
        limit=timeout,
        labels=labels or {},
    )
    hidden = tuple(tests.values())
    return Plan(job, task, pair, setting, rules, agents, pair.features, hidden, dropped, findings, inputs)


def plan_merges(task: Task, patches: Sequence[bytes], labels: Mapping[str, str] | None = None) -> Job:
    """Every two of `patches` merged, in one sandbox; nothing is tested. Pairs are numbered from 1."""
    return _job(task, patches, (), mode="pairs", rule="git", limit=600, labels=labels or {})


def _admit(
    agents: Sequence[str], patches: Sequence[bytes], tests: Sequence[bytes], rules: Rules
) -> tuple[list[bytes], dict[str, tuple[str, ...]], tuple[Finding, ...]]:
    judged: list[bytes] = []
    dropped: dict[str, tuple[str, ...]] = {}
    findings: list[Finding] = []
    for agent, patch in zip(agents, patches, strict=True):
        admitted, found = apply_rule(rules.integrity, patch, agent=agent)
        filtered = keep_for_judging(admitted, tests)
        judged.append(filtered.kept)
        findings.extend(found)
        if filtered.dropped:
            dropped[agent] = tuple(filtered.dropped)
    return judged, dropped, tuple(findings)


def _job(
    task: Task,
    patches: Sequence[bytes],
    tests: Sequence[bytes],
    *,
    mode: str,
    rule: str,
    limit: float,
    labels: Mapping[str, str],
) -> Job:
    inputs = {f"patch.{n}": patch for n, patch in enumerate(patches, 1)}
    inputs |= {f"tests.{n}/tests.patch": patch for n, patch in enumerate(tests, 1)}
    home = f"/.cooperbench-{_name(inputs)}"
    seconds = _whole(limit)
    runs = len(tests) * (2 if mode == "alone" else 1)
    return Job(
        image=task.image,
        files={
            f"{home}/judge.sh": judge_program(),
            **{f"{home}/in/{name}": content for name, content in inputs.items()},
        },
        command=(
            "sh",
            f"{home}/judge.sh",
            home,
            REPOSITORY,
            RUNNER,
            str(len(patches)),
            str(len(tests)),
            rule,
            str(seconds),
            mode,
        ),
        results=f"{home}/facts",
        timeout=seconds * runs + _MARGIN,
        network=task.network,
        labels=labels,
    )


def _name(inputs: Mapping[str, bytes]) -> str:
    """Not to be guessed by whoever wrote a patch: it depends on the hidden tests."""
    digest = hashlib.sha256()
    for name, content in inputs.items():
        digest.update(f"{name} {len(content)}\n".encode())
        digest.update(content)
    return digest.hexdigest()[:16]


def _whole(seconds: float) -> int:
    if not 0 < seconds < 10**6:
        raise UsageError(f"a time limit of {seconds} s makes no sense; give seconds, more than 0")
    return max(1, -int(-seconds // 1))


def _sha256(content: bytes) -> str:
    return "sha256:" + hashlib.sha256(content).hexdigest()
