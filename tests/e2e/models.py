"""Runs of the bundled dataset with agents whose model is the scripted one on the loopback."""

from __future__ import annotations

import contextlib
import json
import shlex
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from cooperbench import run
from cooperbench.dataset import demo_dataset
from cooperbench.dataset.model import Pair
from cooperbench.gateway.recording import masked
from cooperbench.runs import RunDirectory, TrialDirectory
from tests.docker import engines
from tests.loopback.models import CACHED, KEY, ModelServer, Script, tokens

DEMO = demo_dataset()
PAIR = Pair("gridline_task", 3, (1, 2))
"""Two features that must be negotiated: without it they conflict."""
WORK = DEMO / "scripts" / "gridline_task" / "task3" / "f1_f2"
PRICES = {
    "scripted": {
        "input_cost_per_token": 1e-6,
        "output_cost_per_token": 2e-6,
        "cache_read_input_token_cost": 1e-7,
    }
}


def negotiated(*last: str) -> Script:
    """Each agent says and does what its recorded script does, then `last`: with git, one pushes and the other fetches.

    The script is run as a file: the shell of a framework may have functions of its own in place of programs (Claude
    Code's `grep` searches several files at once, and prints them in any order). It is one quoted word: Gemini CLI's
    shell refuses commands with `$(` elsewhere in them.
    """
    commands = {}
    for agent in ("agent1", "agent2"):
        text = (WORK / f"{agent}.sh").read_text()
        commands[agent] = [f"printf %s {shlex.quote(text)} >/tmp/work.sh; sh /tmp/work.sh", *last]
    return Script(commands)


SUBMIT = "echo COMPLETE_TASK_AND_SUBMIT_FINAL_OUTPUT"
SCRIPTS = {
    "mini_swe_agent": negotiated("git status --short", SUBMIT),
    "claude_code": negotiated("git status --short"),
    "codex": negotiated("git status --short"),
    "gemini_cli": negotiated("git status --short"),
}
CALLS = 3
"""Of each agent: two commands and a last word."""


def needs(agent: str) -> None:
    """Programs come from npm, which CI has."""
    if agent != "mini_swe_agent" and shutil.which("npm") is None:
        engines.missing("npm is not on this machine")


@contextlib.contextmanager
def model(script: Script, monkeypatch: pytest.MonkeyPatch) -> Iterator[ModelServer]:
    """The scripted model, its key in this process's environment."""
    monkeypatch.setenv("LOOPBACK_KEY", KEY)
    with ModelServer(script) as server:
        yield server


def run_pair(name: str, agent: str, logs: Path, server: ModelServer | None, **options: Any) -> dict[str, Any]:
    """One coop trial of the negotiated pair; its line in the summary."""
    prices = logs.parent / "prices.json"
    prices.write_text(json.dumps(PRICES))
    reached = {"base_url": server.url, "api_key_env": "LOOPBACK_KEY"} if server is not None else {}
    summary = run(
        name,
        agent=agent,
        repo=PAIR.repo,
        task_id=PAIR.task_id,
        features=PAIR.features,
        dataset_dir=DEMO,
        logs_dir=logs,
        prices=prices,
        agent_timeout=240,
        **{"backend": "local", "model_name": "openai/scripted", **reached, **options},
    )
    (line,) = summary["results"]
    return dict(line)


def trial(logs: Path, name: str, setting: str = "coop") -> TrialDirectory:
    """Its place on disk."""
    return RunDirectory(logs, name).trial(setting, PAIR)


def files_of(directory: TrialDirectory, names: Sequence[str] = ()) -> dict[str, bytes]:
    """Its files, or some of them."""
    return {
        path.name: path.read_bytes()
        for path in directory.path.rglob("*")
        if path.is_file() and (not names or path.name in names)
    }


def timeline_of(directory: TrialDirectory) -> list[tuple[str, str, str, str]]:
    """A trial's events in their order: moment, agent, kind, and what it was but for what no two runs have in common."""
    return [
        (
            str(event["timestamp"]),
            str(event["agent"]),
            str(event["kind"]),
            masked({"of": event["details"]} if "details" in event else {"of": event["entry"]}),
        )
        for event in directory.read_events()
    ]


def verdict_of(directory: TrialDirectory) -> dict[str, Any]:
    """A trial's verdict but for how long it took, and when."""
    verdict = dict(directory.read_verdict() or {})
    for key in ("timings", "evaluated_at", "image"):
        assert verdict.pop(key)
    for number in PAIR.features:
        feature = dict(verdict[f"feature{number}"])
        del feature["seconds"], feature["test_output"]
        verdict[f"feature{number}"] = feature
    return verdict


def check_together(done: TrialDirectory) -> None:
    """Both talked, one pushed and the other fetched, both submitted and pass; what it cost is right to the unit."""
    result, verdict = done.read_result() or {}, done.read_verdict() or {}
    for record in result["agents"].values():
        assert record["status"] == "Submitted", record["error"]
        _check_figures(record)
    assert result["total_cost"] == pytest.approx(sum(record["cost"] for record in result["agents"].values()))
    assert {entry["from"] for entry in done.read_conversation()} == {"agent1", "agent2"}
    branches = [(event["kind"], event["agent"]) for event in done.read_events()]
    assert [each for each in branches if each[0] in ("push", "fetch")] == [
        ("push", "agent1"),
        ("fetch", "agent2"),
    ]
    assert "tests pass" in done.read_conversation()[-1]["message"]  # of both branches, merged by agent2
    assert (verdict["passed"], verdict["merge"]["status"]) == (True, "clean")


def _check_figures(record: dict[str, Any]) -> None:
    """For every framework the same."""
    told = [tokens(number) for number in range(CALLS)]
    given, cached, said = (sum(column) for column in zip(*told, strict=True))
    assert record["input_tokens"] == given
    assert record["cache_read_tokens"] == cached == (CALLS - 1) * CACHED
    assert record["output_tokens"] == said
    assert record["cache_write_tokens"] == 0
    dollars = (given - cached) * 1e-6 + cached * 1e-7 + said * 2e-6
    assert record["cost"] == pytest.approx(dollars, abs=1e-12)
    assert record["steps"] == CALLS
