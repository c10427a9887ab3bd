"""One judgement: patches in, Verdict out, on one backend. Which trials are judged is `evaluator`'s business."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

from cooperbench.dataset.model import Pair, Task
from cooperbench.errors import JudgeError, SandboxLost, SandboxStartError, SandboxTimeout
from cooperbench.eval.backends import shell
from cooperbench.eval.backends.base import EvalBackend
from cooperbench.eval.facts import read_verdict
from cooperbench.eval.job import JobOutput
from cooperbench.eval.plan import Plan, Rules, plan_trial
from cooperbench.eval.verdict import SCHEMA, Verdict
from cooperbench.events import Judged
from cooperbench.pool import describe, desk
from cooperbench.runs import TrialDirectory

_log = logging.getLogger(__name__)

SOLO = 0
"""The key of the one patch of a `solo` trial."""


@dataclass(frozen=True, slots=True)
class Judging:
    """How to judge."""

    timeout: float = 600
    """Seconds for each run of one feature's tests."""
    rules: Rules = field(default_factory=Rules)
    independent: bool = False
    """Also each agent's patch by itself, so that a failure to code and a failure to cooperate are told apart."""


@dataclass(frozen=True, slots=True)
class Judgement:
    """A verdict and the logs it names."""

    verdict: Verdict
    logs: Mapping[str, bytes]


def judge(
    backend: EvalBackend,
    task: Task,
    pair: Pair,
    patches: Mapping[int, bytes],
    setting: str,
    judging: Judging,
    *,
    image_digest: str | None = None,
    labels: Mapping[str, str] | None = None,
) -> Judgement:
    """Judge one trial's patches: by feature number in `coop`, one under `SOLO` in `solo`.

    Raises:
        BackendError: the infrastructure failed (after a second try where one makes sense); nothing is known of the
            patches.
    """
    return _carry_out(backend, _plan(task, pair, patches, setting, judging, image_digest, labels))


def judge_trial(
    backend: EvalBackend,
    task: Task,
    trial: TrialDirectory,
    judging: Judging,
    *,
    force: bool = False,
    image_digest: str | None = None,
) -> tuple[dict[str, Any], bool]:
    """The verdict of a trial on disk, as ``eval.json`` holds it, and whether it was there already.

    A stored verdict is used only when everything it depends on is the same, byte for byte.

    Raises:
        BackendError: the infrastructure failed; what was stored stays as it was.
        JudgeError: the trial has no patch for one of its features.
    """
    with desk:
        plan = plan_of(task, trial, judging, image_digest)
        stored = None if force else trial.read_verdict()
    if stored is not None and is_current(stored, plan):
        return stored, True
    judgement = _carry_out(backend, plan)
    with desk:
        return _stored(trial, judgement), False


def plan_of(task: Task, trial: TrialDirectory, judging: Judging, image_digest: str | None) -> Plan:
    """What judging a trial on disk takes.

    Raises:
        JudgeError: the trial has no patch for one of its features.
    """
    labels = {"run": trial.run_name, "trial": trial.pair.name}
    return _plan(task, trial.pair, _patches(trial), trial.setting, judging, image_digest, labels)


def judge_output(
    backend: EvalBackend, trial: TrialDirectory, plan: Plan, output: JobOutput
) -> dict[str, Any]:
    """The verdict of a trial whose Job was run elsewhere; it is stored.

    Raises:
        JudgeError: the output holds no verdict.
    """
    return _stored(trial, _judgement(backend, plan, output))


def _stored(trial: TrialDirectory, judgement: Judgement) -> dict[str, Any]:
    verdict = judgement.verdict.to_json()
    trial.write_verdict(verdict, judgement.logs)
    return verdict


def current_verdict(
    task: Task, trial: TrialDirectory, judging: Judging, image_digest: str | None
) -> dict[str, Any] | None:
    """The stored verdict of a trial on disk if it holds for this image, else None."""
    stored = trial.read_verdict()
    if stored is None or not is_current(stored, plan_of(task, trial, judging, image_digest)):
        return None
    return stored


def is_current(stored: Mapping[str, Any], plan: Plan) -> bool:
    """Whether a stored verdict rests on exactly these inputs."""
    return (
        stored.get("schema") == SCHEMA
        and stored.get("inputs") == dict(plan.inputs)
        and isinstance(stored.get("passed"), bool)
        and not stored.get("error")
    )


def _patches(trial: TrialDirectory) -> Mapping[int, bytes]:
    patches = trial.read_patches()
    wanted = (SOLO,) if trial.setting == "solo" else trial.pair.features
    missing = [n for n in wanted if n not in patches]
    if missing:
        what = "solo.patch" if missing == [SOLO] else ", ".join(f"agent{n}.patch" for n in missing)
        raise JudgeError(f"{trial.pair.name}: {what} is missing in {trial.path}; run the trial again")
    return {n: patches[n] for n in wanted}


def _plan(
    task: Task,
    pair: Pair,
    patches: Mapping[int, bytes],
    setting: str,
    judging: Judging,
    image_digest: str | None,
    labels: Mapping[str, str] | None,
) -> Plan:
    return plan_trial(
        task,
        pair,
        patches,
        setting,
        judging.rules,
        timeout=judging.timeout,
        alone=judging.independent and setting != "solo",
        image_digest=image_digest,
        labels=labels,
    )


def _carry_out(backend: EvalBackend, plan: Plan) -> Judgement:
    try:
        return _judgement(backend, plan, shell.run_job(backend, plan.job))
    except SandboxTimeout:
        raise
    except (SandboxLost, SandboxStartError, JudgeError) as error:
        if getattr(backend, "ended", False):  # by us: the run is being stopped
            raise
        # A sandbox that was lost once says nothing of the patches; judging is repeatable, so it is repeated.
        _log.warning("%s: judging once more after: %s", plan.pair.name, error)
        return _judgement(backend, plan, shell.run_job(backend, plan.job))


def _judgement(backend: EvalBackend, plan: Plan, output: JobOutput) -> Judgement:
    with desk:
        verdict, logs = read_verdict(plan, output)
    stamped = replace(
        verdict,
        backend=getattr(backend, "name", type(backend).__name__),
        evaluated_at=datetime.now(UTC).isoformat(timespec="seconds"),
    )
    return Judgement(stamped, logs)


# ---------------------------------------------------------------------------------------------- telling


def judged_event(
    trial: TrialDirectory, verdict: Mapping[str, Any], seconds: float, *, reused: bool
) -> Judged:
    """A verdict, as the progress line wants it."""
    merge = verdict.get("merge") or {}
    return Judged(
        pair=trial.pair,
        setting=trial.setting,
        passed=bool(verdict["passed"]),
        merge=merge.get("status"),
        integrity=len(verdict.get("integrity") or ()),
        seconds=0.0 if reused else seconds,
        error=None,
        conflicts=tuple(merge.get("files") or ()),
    )


def unjudged_event(trial: TrialDirectory, error: Exception) -> Judged:
    """Infrastructure trouble, noted beside the trial and told; it is no verdict and the next `evaluate` tries again."""
    text = describe(error)
    trial.write_judge_error(text)
    return Judged(trial.pair, trial.setting, None, None, 0, 0.0, text, ())
