"""A run counted: always all of it, from what is on disk, whoever ran or judged which part when.

Every trial is in exactly one of *passed*, *failed*, *errors* and *pending*, so these add up to the total.
`errors` are the infrastructure's or an agent framework's own, never failed tests. `pending` has not run
or has not been judged. `pass_rate` is passed / (passed + failed), as earlier releases had it; `pass_rate_all`
is passed / total.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal

from cooperbench.dataset.model import Pair
from cooperbench.runs.directory import SETTINGS, RunDirectory
from cooperbench.runs.trial import TrialDirectory, agents_of, finished, number

Ran = Literal["done", "error", "pending"]
Judgement = Literal["pass", "fail", "error", "pending"]


@dataclass(frozen=True, slots=True)
class Standing:
    """Where one trial stands, reduced to what a summary needs."""

    pair: Pair
    setting: str
    ran: Ran
    judged: Judgement
    cost: float | None
    seconds: float
    steps: int
    messages: int
    error: str | None
    merge: str | None
    unapplied: int
    integrity: int
    sandbox_cost: float | None = None
    """US dollars its agents' sandboxes cost, where they cost anything."""
    spent: float = 0.0
    """US dollars it is known to have cost, all its attempts and their sandboxes."""


def standings(run: RunDirectory) -> Iterator[Standing]:
    """Every trial of the run: those on disk and those its settings name that have not run yet."""
    seen: set[tuple[str, Pair]] = set()
    for trial in run.trials():
        seen.add((trial.setting, trial.pair))
        yield standing(trial)
    for setting, pair in expected(run.read_config() or {}):
        if (setting, pair) not in seen:
            yield Standing(pair, setting, "pending", "pending", None, 0.0, 0, 0, None, None, 0, 0)


def standing(trial: TrialDirectory) -> Standing:
    """One trial's standing, from its files."""
    result = trial.read_result()
    ran: Ran = "pending" if result is None else "done" if finished(result) else "error"
    verdict = trial.read_verdict() if ran == "done" else None
    unjudged = trial.read_judge_error() if ran == "done" and verdict is None else None
    spent = trial.spent(result)
    result = result or {}
    return Standing(
        pair=trial.pair,
        setting=trial.setting,
        ran=ran,
        judged=_judgement(ran, verdict, unjudged),
        cost=number(result.get("total_cost")),
        seconds=number(result.get("duration_seconds")) or 0.0,
        steps=int(number(result.get("total_steps")) or 0),
        messages=int(number(result.get("messages_sent")) or 0),
        error=_error(result) or unjudged,
        merge=_text((verdict or {}).get("merge"), "status"),
        unapplied=_unapplied(verdict),
        integrity=_length((verdict or {}).get("integrity")),
        sandbox_cost=number(result.get("sandbox_cost")),
        spent=spent,
    )


def expected(config: Mapping[str, Any]) -> Iterator[tuple[str, Pair]]:
    """The trials a run's settings name: ``pairs`` is ``{"repo/task_id": ["1,2", …]}``."""
    setting, pairs = config.get("setting"), config.get("pairs")
    if setting not in SETTINGS or not isinstance(pairs, dict):
        return
    for task, keys in pairs.items():
        repo, _, task_id = task.rpartition("/")
        if repo and task_id.isdecimal() and isinstance(keys, list):
            for key in keys:
                numbers = str(key).split(",")
                if all(number.isdecimal() for number in numbers):
                    yield setting, Pair(repo, int(task_id), tuple(map(int, numbers)))


# ------------------------------------------------------------------------------------------ the two summaries


def summary(run: RunDirectory, rows: Sequence[Standing] | None = None) -> dict[str, Any]:
    """The whole run's totals, as ``summary.json`` holds them.

    Args:
        rows: the run's `standings`, where they have been read already.
    """
    rows = list(standings(run)) if rows is None else rows
    ran = Counter(row.ran for row in rows)
    costs = [row.cost for row in rows if row.cost is not None]
    sandboxes = [row.sandbox_cost for row in rows if row.sandbox_cost is not None]
    judged = judging_totals(rows)
    return {
        "run_name": run.name,
        "completed_at": _now(),
        "pass_rate": judged["pass_rate"],
        "pass_rate_all": judged["pass_rate_all"],
        "total_tasks": len(rows),
        "completed": ran["done"],
        # Kept for scripts of earlier releases: a summary of the whole run has nothing to skip.
        "skipped": 0,
        "failed": ran["error"],
        "pending": ran["pending"],
        "total_cost": round(sum(costs), 6) if costs else None,
        "unpriced": sum(row.cost is None for row in rows),
        "sandbox_cost": round(sum(sandboxes), 6) if sandboxes else None,
        "total_steps": sum(row.steps for row in rows),
        "messages_sent": sum(row.messages for row in rows),
        "total_time_seconds": round(sum(row.seconds for row in rows), 3),
        "eval": judged,
        "results": [_line(row) for row in rows],
    }


def eval_summary(run: RunDirectory, rows: Sequence[Standing] | None = None) -> dict[str, Any]:
    """The totals of judging, as ``eval_summary.json`` holds them; `rows` as in `summary`."""
    rows = list(standings(run)) if rows is None else rows
    judged = judging_totals(rows)
    return {
        "run_name": run.name,
        "evaluated_at": _now(),
        "total_runs": len(rows),
        **{key: value for key, value in judged.items() if key not in ("total", "total_evaluated")},
        "results": [
            {"run": row.pair.name, "setting": row.setting, "status": row.judged, "error": row.error}
            for row in rows
        ],
    }


def judging_totals(rows: Sequence[Standing]) -> dict[str, Any]:
    """Counts that add up: passed + failed + errors + pending = total."""
    judged = Counter(row.judged for row in rows)
    passed, failed = judged["pass"], judged["fail"]
    return {
        "total": len(rows),
        "total_evaluated": passed + failed,
        "passed": passed,
        "failed": failed,
        "errors": judged["error"],
        "pending": judged["pending"],
        "skipped": 0,
        "pass_rate": passed / (passed + failed) if passed + failed else 0.0,
        "pass_rate_all": passed / len(rows) if rows else 0.0,
        "conflicts": sum(row.merge == "conflicts" for row in rows),
        "apply_failures": sum(row.unapplied > 0 for row in rows),
        "integrity_findings": sum(row.integrity for row in rows),
    }


def _line(row: Standing) -> dict[str, Any]:
    judged = row.judged in ("pass", "fail")
    return {
        "task": row.pair.name,
        "setting": row.setting,
        "status": row.ran,
        "cost": row.cost,
        "eval": {"both_passed": row.judged == "pass", "merge": row.merge} if judged else None,
        "error": row.error,
    }


def _judgement(ran: Ran, verdict: Mapping[str, Any] | None, unjudged: str | None) -> Judgement:
    if ran == "error" or (ran == "done" and verdict is None and unjudged is not None):
        return "error"
    if ran != "done" or verdict is None:
        return "pending"
    if verdict.get("error"):  # only releases before this one stored a verdict for an error
        return "error"
    return "pass" if verdict.get("passed", verdict.get("both_passed")) is True else "fail"


def _error(result: Mapping[str, Any]) -> str | None:
    if result.get("error"):
        return str(result["error"])
    for name, agent in agents_of(result).items():
        if agent.get("status") == "Error":
            return f"{name}: {agent.get('error') or 'failed'}"
    return None


def _unapplied(verdict: Mapping[str, Any] | None) -> int:
    statuses = (verdict or {}).get("apply_status")
    return sum(status == "failed" for status in statuses.values()) if isinstance(statuses, dict) else 0


def _text(value: Any, key: str) -> str | None:
    found = value.get(key) if isinstance(value, dict) else None
    return str(found) if found is not None else None


def _length(value: Any) -> int:
    return len(value) if isinstance(value, list) else 0


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
