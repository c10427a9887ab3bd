"""From the facts a Job left behind to a Verdict: pure. What the agents did wrong is in the Verdict; what the
infrastructure did wrong is a `JudgeError`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from cooperbench import diffnames
from cooperbench.errors import JudgeError
from cooperbench.eval import testlog
from cooperbench.eval.integrity import Finding, unseen
from cooperbench.eval.job import JobOutput
from cooperbench.eval.plan import Plan
from cooperbench.eval.verdict import FeatureResult, Merge, Verdict

_TAIL = 2000
_DIFF = 5000
_MERGED = {"clean", "identical", "empty"}
_APPLIED = {"applied": "applied", "empty": "skipped", "failed": "failed"}
"""The judge's word → the word `eval.json` has always used."""


def read_verdict(plan: Plan, output: JobOutput) -> tuple[Verdict, dict[str, bytes]]:
    """The verdict, and the logs it names (file name → contents).

    Raises:
        JudgeError: the Job left no facts for a reason that is not the patches'.
    """
    ended = _ended_early(plan, output)
    if ended is not None:
        return ended, {"judge.log": output.stdout + output.stderr}
    facts = _Facts(output.facts)
    merge = _merge(plan, facts)
    tampering = [*_tampering(plan, facts)]
    results, logs = _results(plan, facts, "tests", merge)
    alone, alone_logs = _results(plan, facts, "alone", merge) if plan.inputs["alone"] == "True" else ((), {})
    failed = next((r for r in results if not r.passed), None)
    verdict = _verdict(
        plan,
        output,
        passed=failed is None and merge.status in _MERGED,
        reason="" if failed is None else failed.reason,
        apply_status={
            agent: _APPLIED[facts.word(f"apply.{n}", _APPLIED)] for n, agent in enumerate(plan.agents, 1)
        },
        merge=merge,
        results=results,
        alone=alone,
        integrity=(*plan.findings, *_unseen(plan, facts), *tampering),
        base=facts.text("base").strip() or None,
    )
    apply_logs = {
        f"apply.{agent}.log": facts.facts[f"apply.{n}.log"]
        for n, agent in enumerate(plan.agents, 1)
        if f"apply.{n}.log" in facts.facts
    }
    return verdict, {**logs, **alone_logs, **apply_logs}


def _verdict(plan: Plan, output: JobOutput, **fields: Any) -> Verdict:
    return Verdict(
        repo=plan.task.repo,
        task_id=plan.task.task_id,
        features=plan.pair.features,
        setting=plan.setting,
        dropped=plan.dropped,
        rules={"merge": plan.rules.merge, "integrity": plan.rules.integrity},
        image={"reference": plan.task.image, "digest": _digest(plan)},
        inputs=plan.inputs,
        timings={stage: round(seconds, 4) for stage, seconds in output.timings.items()},
        **fields,
    )


def _digest(plan: Plan) -> str | None:
    image = plan.inputs["image"]
    return image if image.startswith("sha256:") else None


# ---------------------------------------------------------------------------------------- a judge that was ended


def _ended_early(plan: Plan, output: JobOutput) -> Verdict | None:
    """None when the facts are complete. Once code under test has run, whatever ended the judge is that code's failure:
    it could have made the judge say anything, also that the image is at fault."""
    complete = output.returncode == 0 and not output.timed_out and output.facts.get("done") == b"yes\n"
    if complete:
        return None
    testing = [
        line for line in output.stdout.decode("utf-8", "replace").splitlines() if line.startswith("testing ")
    ]
    if not testing:
        raise JudgeError(_trouble(plan, output))
    how = "did not come back in time" if output.timed_out else f"was ended (status {output.returncode})"
    reason = f"the judge {how} while {testing[-1].removeprefix('testing ')[:40]} ran"
    finding = Finding(kind="judge-ended", agent="", path="", line=None, detail=reason)
    results = tuple(_not_run(n, reason) for n in plan.tests)
    return _verdict(
        plan,
        output,
        passed=False,
        reason=reason,
        apply_status=dict.fromkeys(plan.agents, "unknown"),
        merge=Merge("unknown", None),
        results=results,
        alone=(),
        integrity=(*plan.findings, finding),
        base=None,
    )


def _trouble(plan: Plan, output: JobOutput) -> str:
    lines = output.stderr.decode("utf-8", "replace").strip().splitlines()
    said = lines[-1][:300] if lines else "it said nothing"
    how = "ran out of time" if output.timed_out else f"ended with status {output.returncode}"
    return f"{plan.task.name}: the judge {how} in image {plan.task.image}: {said}"


# ------------------------------------------------------------------------------------------------ facts


@dataclass(frozen=True, slots=True)
class _Facts:
    facts: Mapping[str, bytes]

    def text(self, name: str) -> str:
        return self.facts.get(name, b"").decode("utf-8", "replace")

    def number(self, name: str) -> int:
        try:
            return int(self.text(name))
        except ValueError:
            raise JudgeError(f"the judge's fact {name!r} is not a number") from None

    def word(self, name: str, known: Mapping[str, str] | set[str]) -> str:
        value = self.text(name).strip()
        if value not in known:
            raise JudgeError(f"the judge's fact {name!r} has no known value")
        return value


def _merge(plan: Plan, facts: _Facts) -> Merge:
    status = facts.word("merge", {*_MERGED, "conflicts", "missing_input"})
    merged = status in _MERGED
    files = tuple(
        diffnames.text(diffnames.whole(line))
        for line in facts.facts.get("merge.conflicts", b"").splitlines()
        if line
    )
    return Merge(
        status=status,
        strategy=facts.word("merge.strategy", {"git", "union"}) if status != "missing_input" else None,
        files=files,
        diff=facts.text("feature.patch")[:_DIFF] if merged and len(plan.agents) > 1 else "",
    )


def _unseen(plan: Plan, facts: _Facts) -> list[Finding]:
    return unseen(facts.facts.get("feature.patch", b""), plan.findings, plan.tests_patches)


def _tampering(plan: Plan, facts: _Facts) -> list[Finding]:
    found = []
    for kind in ("tests", "alone"):
        for n, feature in enumerate(plan.tests, 1):
            state = facts.text(f"{kind}.{n}.state").strip()
            if state in _STATES:
                detail = f"{kind} of feature {feature}: {_STATES[state]}"
                found.append(Finding(kind=f"run-{state}", agent="", path="", line=None, detail=detail))
            if f"{kind}.{n}.cut" in facts.facts:
                detail = f"{kind} of feature {feature}: the log is cut, so its counts are less certain"
                found.append(Finding(kind="log-cut", agent="", path="", line=None, detail=detail))
    return found


_STATES = {
    "tampered": "code under test changed the runner, the judge's inputs or a log",
    "unkillable": "processes of the test run could not be killed",
    "unrestorable": "an earlier test run left a repository that cannot be restored",
}


# ------------------------------------------------------------------------------------------------ features


def _results(
    plan: Plan, facts: _Facts, kind: str, merge: Merge
) -> tuple[tuple[FeatureResult, ...], dict[str, bytes]]:
    results: list[FeatureResult] = []
    logs: dict[str, bytes] = {}
    for n, feature in enumerate(plan.tests, 1):
        if f"{kind}.{n}.rc" not in facts.facts:
            results.append(_not_run(feature, _why_not_run(kind, merge)))
            continue
        log = facts.facts.get(f"{kind}.{n}.log", b"")
        name = f"{kind}.f{feature}.log"
        logs[name] = log
        results.append(replace(_feature(facts, f"{kind}.{n}", feature, log, _limit(plan)), log=name))
    return tuple(results), logs


def _limit(plan: Plan) -> int:
    return int(plan.inputs["timeout"])


def _feature(facts: _Facts, name: str, feature: int, log: bytes, limit: int) -> FeatureResult:
    counts = testlog.counts(log, truncated=f"{name}.cut" in facts.facts)
    code = facts.number(f"{name}.rc")
    state = facts.text(f"{name}.state").strip()
    reason = ""
    if state in _STATES:
        reason = _STATES[state]
    elif facts.text(f"{name}.late").strip() == "yes":
        reason = f"the tests did not end within {limit} s"
    elif code != 0:
        reason = f"the tests ended with status {code}" + (
            f", {counts.failed} failed" if counts.failed else ""
        )
    elif not counts.consistent:
        reason = counts.problem or "the log contradicts itself"
    elif counts.failed or counts.errors:
        reason = f"{counts.failed + counts.errors} tests failed"
    elif not counts.passed:
        reason = "no test ran"
    return FeatureResult(
        feature_id=feature,
        passed=not reason,
        reason=reason,
        exit_code=code,
        tests_passed=counts.passed,
        tests_failed=counts.failed + counts.errors,
        tests_total=counts.total,
        framework=counts.framework,
        seconds=facts.number(f"{name}.time") / 100,
        log=None,
        test_output=log[-_TAIL:].decode("utf-8", "replace"),
    )


def _not_run(feature: int, reason: str) -> FeatureResult:
    return FeatureResult(feature, False, reason, None, 0, 0, 0, None, 0.0, None, "")


def _why_not_run(kind: str, merge: Merge) -> str:
    if kind == "alone" or merge.status == "missing_input":
        return "a patch did not apply"
    return f"the patches conflict in {', '.join(merge.files[:5]) or 'unnamed files'}"
