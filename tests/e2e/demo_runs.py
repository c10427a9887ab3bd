"""Runs on the bundled dataset, for tests: sandboxes of this machine, no model."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from cooperbench import run
from cooperbench.dataset import demo_dataset
from cooperbench.dataset.model import Pair
from cooperbench.runs import RunDirectory, TrialDirectory

DEMO = demo_dataset()
EXPECTED = json.loads((DEMO / "expected.json").read_text())
GOLD = json.loads((DEMO / "expected-gold.json").read_text())
ONE = {"repo": "almanac_task", "task_id": 12, "features": [1, 2]}
TRIAL = Pair("almanac_task", 12, (1, 2))


def demo(logs: Path, name: str = "demo", **options: Any) -> tuple[dict[str, Any], list[Any]]:
    """A run on the bundled dataset; its summary and the events."""
    events: list[Any] = []
    arguments = {
        "agent": "script",
        "agent_config": DEMO / "scripts" if options.get("agent", "script") == "script" else None,
        "backend": "local",
        "concurrency": 3,
        "eval_concurrency": 2,
        "dataset_dir": DEMO,
        "logs_dir": logs,
        "progress": events.append,
        **({} if "repo" in options else {"subset": "demo"}),
        **options,
    }
    return run(name, **arguments), events


def outcomes(summary: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {
        line["task"]: {"passed": line["eval"]["both_passed"], "merge": line["eval"]["merge"]}
        for line in summary["results"]
    }


def trial(logs: Path, name: str = "demo", pair: Pair = TRIAL, setting: str = "coop") -> TrialDirectory:
    return RunDirectory(logs, name).trial(setting, pair)


def files(logs: Path) -> dict[Path, tuple[int, bytes]]:
    """Every trial file with when it was written."""
    return {
        path: (path.stat().st_mtime_ns, path.read_bytes())
        for path in logs.glob("*/coop/**/*")
        if path.is_file()
    }
