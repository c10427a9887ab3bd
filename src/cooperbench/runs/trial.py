"""One trial's files: its result, its patches, its verdict, what its agents said and did.

A trial is finished when its result is on disk, whole and without an error; the result is therefore the last
file written and the first one removed.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cooperbench import atomic
from cooperbench.dataset.model import Pair
from cooperbench.errors import UsageError
from cooperbench.redaction import redacted_json

SOLO = 0
"""Stands for the feature number of a patch that is one agent's work on all features."""

_RESULT = "result.json"
_VERDICT = "eval.json"
_EVENTS = "events.jsonl"
_UNJUDGED = "eval_error.json"
_CALLS = "calls.{}.jsonl"
_TURNS = "turns.jsonl"
_SPENT = "spent.jsonl"
_LOG_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}\.log")
_STALE = (".log", ".tmp")


def finished(result: Mapping[str, Any] | None) -> bool:
    """Whether a trial of this result need not run again: no error of the harness's, none of an agent's."""
    if result is None or result.get("error"):
        return False
    agents = agents_of(result)
    return bool(agents) and all(agent.get("status") != "Error" for agent in agents.values())


def agents_of(result: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """The agents' records of a result by id, whichever shape its setting gives them."""
    several, single = result.get("agents"), result.get("agent")
    if isinstance(several, Mapping):
        return {str(name): agent for name, agent in several.items() if isinstance(agent, Mapping)}
    return {"agent1": single} if isinstance(single, Mapping) else {}


def number(value: Any) -> float | None:
    """A number of a file's; None for whatever else stands there, and for what nobody can add up."""
    sound = isinstance(value, int | float) and not isinstance(value, bool) and -1e15 < value < 1e15
    return float(value) if sound else None


@dataclass(frozen=True, slots=True)
class TrialDirectory:
    """One trial on disk. Reading never fails on what a killed harness or another program left there."""

    path: Path
    setting: str
    pair: Pair
    run_name: str = ""

    # ---------------------------------------------------------------------------------- the trial itself

    def read_result(self) -> dict[str, Any] | None:
        """What the trial came to; None when it has not, or the file is damaged."""
        return _object(self._place(_RESULT))

    def write_result(self, result: Mapping[str, Any]) -> None:
        """Call this last: from here on the trial exists."""
        self._write_json(_RESULT, result)

    def read_patches(self) -> dict[int, bytes]:
        """Patches by feature number, or one under `SOLO`; a missing file is missing here too."""
        if self.setting == "solo":
            names = {SOLO: "solo.patch"}
        else:
            names = {number: f"agent{number}.patch" for number in self.pair.features}
        found: dict[int, bytes] = {}
        for number, name in names.items():
            with contextlib.suppress(OSError):
                found[number] = atomic.read_bytes(self._place(name))
        return found

    def write_patch(self, feature: int, patch: bytes) -> None:
        """Keep one agent's patch, byte for byte."""
        self._write(f"{_stem(feature)}.patch", patch)

    def write_trajectory(self, feature: int, trajectory: Mapping[str, Any]) -> None:
        """Keep what one agent did, step by step."""
        self._write_json(f"{_stem(feature)}_traj.json", trajectory)

    def read_trajectory(self, feature: int) -> dict[str, Any] | None:
        """What one agent did, if that is on disk."""
        return _object(self.path / f"{_stem(feature)}_traj.json")

    def write_conversation(self, messages: Iterable[Mapping[str, Any]]) -> None:
        """Keep what the agents said to each other, in the order it was said."""
        self._write_json("conversation.json", list(messages))

    def read_conversation(self) -> list[dict[str, Any]]:
        """What the agents said to each other; empty when nothing is on disk."""
        found = atomic.read_json(self.path / "conversation.json")
        return [entry for entry in found if isinstance(entry, dict)] if isinstance(found, list) else []

    def write_events(self, events: Iterable[Mapping[str, Any]]) -> None:
        """Keep everything that happened, one JSON value a line."""
        text = redacted_json(list(events), lambda values: "".join(map(_line, values)))
        self._write(_EVENTS, text.encode("utf-8", "replace"))

    def read_events(self) -> list[dict[str, Any]]:
        """Everything that happened; empty when nothing is on disk, without what cannot be read."""
        return _lines(self.path / _EVENTS)

    def write_tasks(self, tasks: Sequence[Mapping[str, Any]], log: Sequence[Mapping[str, Any]]) -> None:
        """Keep a team's task list as it was at the end, and what was done to it."""
        self._write_json("tasks.json", list(tasks))
        self._write_json("task_log.json", list(log))

    # ---------------------------------------------------------------------------------- its recording

    def append_call(self, agent: str, call: Mapping[str, Any]) -> None:
        """Keep one call of an agent to its model, after those before it."""
        self._append_json(_CALLS.format(agent), call)

    def read_calls(self, agent: str) -> list[dict[str, Any]]:
        """An agent's recorded calls; empty when none are on disk."""
        return _lines(self.path / _CALLS.format(agent))

    def recorded(self) -> bool:
        """Whether calls of its agents are on disk."""
        return any(name.startswith("calls.") for name in self._names())

    def append_turn(self, turn: Mapping[str, Any]) -> None:
        """Keep which operation of whom took effect on the bus next."""
        self._append_json(_TURNS, turn)

    def read_turns(self) -> list[dict[str, Any]]:
        """The order in which the bus served its agents."""
        return _lines(self.path / _TURNS)

    # ---------------------------------------------------------------------------------- what it has cost

    def append_spent(self, dollars: float) -> None:
        """Keep that so much has been spent just now; this outlives the attempt it was spent on."""
        self._append_json(_SPENT, {"usd": dollars})

    def spent(self, result: Mapping[str, Any] | None) -> float:
        """US dollars known to have been spent on the trial: models and sandboxes, earlier attempts included.

        Args:
            result: its result; without one, what was noted as it was spent counts.
        """
        if result is None:
            return sum(number(entry.get("usd")) or 0.0 for entry in _lines(self.path / _SPENT))
        known = number(result.get("spent"))
        if known is not None:
            return known
        return (number(result.get("total_cost")) or 0.0) + (number(result.get("sandbox_cost")) or 0.0)

    # ---------------------------------------------------------------------------------- its judgement

    def read_verdict(self) -> dict[str, Any] | None:
        """The verdict, if it is on disk and whole."""
        return _object(self._place(_VERDICT))

    def write_verdict(self, verdict: Mapping[str, Any], logs: Mapping[str, bytes]) -> None:
        """Keep a verdict and its test logs; nothing of an earlier verdict stays.

        Raises:
            UsageError: a log's name is not a plain file name ending in ``.log``.
        """
        for name in logs:
            if _LOG_NAME.fullmatch(name) is None:
                raise UsageError(f"{name!r} is no name for a test log; use tests.<what>.log")
        self.clear_verdict()
        for name, log in logs.items():
            self._write(name, log)
        self._write_json(_VERDICT, verdict)

    def clear_verdict(self) -> None:
        """Forget the verdict: the patches it judged are about to change, or it is stale."""
        present = self._names()
        for name in [_VERDICT, *present]:  # the verdict before the logs it names
            if name in present and (name in (_VERDICT, _UNJUDGED) or name.endswith(_STALE)):
                (self.path / name).unlink(missing_ok=True)

    def write_judge_error(self, error: str) -> None:
        """Note that the infrastructure failed while judging; the next verdict removes this."""
        self._write_json(_UNJUDGED, {"error": error})

    def read_judge_error(self) -> str | None:
        """Why the last attempt at judging came to nothing, if it did."""
        found = _object(self._place(_UNJUDGED))
        return str(found.get("error", "")) if found is not None else None

    # ---------------------------------------------------------------------------------- before a re-run

    def clear(self) -> None:
        """Remove an earlier attempt, not what it cost; result and verdict first: killed midway, it is unfinished."""
        present = self._names()
        if not present:
            return
        lacking = self.spent(self.read_result()) - self.spent(None)
        if abs(lacking) > 1e-6:  # results are rounded to that
            self.append_spent(lacking)
        for name in sorted(present, key=lambda name: name not in (_RESULT, _VERDICT)):
            if name != _SPENT:
                _remove(self.path / name)
        with contextlib.suppress(OSError):  # it may hold what was spent
            self.path.rmdir()

    # ---------------------------------------------------------------------------------- writing

    def _names(self) -> list[str]:
        try:
            return os.listdir(self.path)
        except FileNotFoundError:
            return []

    def _write(self, name: str, content: bytes) -> None:
        atomic.write_bytes(self._place(name), content)

    def _write_json(self, name: str, value: Any) -> None:
        self._write(name, redacted_json(value, atomic.json_lines).encode("utf-8", "replace"))

    def _append_json(self, name: str, value: Any) -> None:
        atomic.append_bytes(self.path / name, redacted_json(value, _line).encode("utf-8", "replace"))

    def _place(self, name: str) -> str:
        return f"{self.path}/{name}"  # five times as fast as `Path`: a run of ten thousand trials asks 200,000 times


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _line(value: Any) -> str:
    return _encode(value) + "\n"


_encode = json.JSONEncoder(ensure_ascii=False).encode


def _stem(feature: int) -> str:
    return "solo" if feature == SOLO else f"agent{feature}"


def _lines(path: Path) -> list[dict[str, Any]]:
    """The objects of a JSONL file; the last line of a killed writer may be half a line."""
    found = []
    with contextlib.suppress(OSError):
        for line in path.read_bytes().splitlines():
            with contextlib.suppress(ValueError, RecursionError):
                value = json.loads(line)
                if isinstance(value, dict):
                    found.append(value)
    return found


def _object(path: Path | str) -> dict[str, Any] | None:
    found = atomic.kept_json(path)
    return found if isinstance(found, dict) else None
