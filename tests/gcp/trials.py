"""A run's finished trials, for judging them on gcp."""

from __future__ import annotations

from pathlib import Path

from cooperbench.dataset import Pair, demo_dataset, load_dataset
from cooperbench.eval.sources import ready_image
from cooperbench.runs import RunDirectory
from tests.judging.parity import TODO
from tests.loopback.gcp.cloud import Cloud

PAIRS = {(1, 2): False, (1, 3): True, (2, 3): True, (3, 4): False}
"""Features whose reference solutions are handed in; whether they pass together."""


def handed_in(tmp_path: Path, cloud: Cloud) -> RunDirectory:
    """Four finished trials without verdicts, their image in the registry."""
    dataset = load_dataset(demo_dataset())
    task = dataset.task(*TODO)
    ready_image(cloud.local, task)
    run = RunDirectory(tmp_path / "logs", "killed")
    gold = {feature.number: feature.gold_patch for feature in task.features.values()}
    for features in PAIRS:
        trial = run.trial("coop", Pair(*TODO, features))
        for number in features:
            trial.write_patch(number, gold[number])
        agents = {f"agent{i}": {"feature_id": n, "status": "Submitted"} for i, n in enumerate(features, 1)}
        trial.write_result(
            {"repo": TODO[0], "task_id": TODO[1], "features": list(features), "agents": agents}
        )
    cloud.zone.made.clear()
    return run


def verdicts(run: RunDirectory) -> dict[tuple[int, ...], bool | None]:
    return {trial.pair.features: (trial.read_verdict() or {}).get("passed") for trial in run.trials()}
