"""`evaluate` on gcp, in this process."""

from __future__ import annotations

from typing import Any

import pytest

from cooperbench import evaluate
from cooperbench.dataset import demo_dataset, load_dataset
from cooperbench.errors import UsageError
from cooperbench.eval.sources import ready_image
from cooperbench.runs import RunDirectory
from tests.gcp.trials import PAIRS, verdicts
from tests.judging.parity import TODO
from tests.loopback.gcp.cloud import BUCKET, Cloud


def judge(run: RunDirectory, **wishes: Any) -> dict[str, Any]:
    where = {"dataset_dir": demo_dataset(), "logs_dir": run.path.parent}
    return evaluate(run.name, backend="gcp", concurrency=2, timeout=60, **where, **wishes)


def test_what_earlier_batches_have_cost_is_spent(run: RunDirectory, cloud: Cloud) -> None:
    run.clear_batch({"judgements": 9, "dollars_estimated": 5.0})
    with pytest.raises(UsageError, match=r"more than the \$0\.00 left of --max-cost"):
        judge(run, max_cost=5.0)
    assert cloud.traffic.count("batch.CreateJob") == 0
    assert cloud.store.names(BUCKET) == []


def test_frozen_is_the_image_of_the_run_by_its_digest(run: RunDirectory, cloud: Cloud) -> None:
    task = load_dataset(demo_dataset()).task(*TODO)
    digest = ready_image(cloud.local, task)
    run.write_config({"images": {task.image: digest}})
    judge(run, frozen=True)
    assert verdicts(run) == PAIRS
    assert {pulled for vm in cloud.zone.made for pulled in vm.engine.pulls} == {f"{task.image}@{digest}"}
    assert {(trial.read_verdict() or {})["inputs"]["image"] for trial in run.trials()} == {digest}
    cloud.traffic.forget()
    judge(run, frozen=True)
    assert cloud.traffic.count("batch.CreateJob") == 0, "these verdicts hold"


def test_frozen_takes_no_other_image(run: RunDirectory, cloud: Cloud) -> None:
    task = load_dataset(demo_dataset()).task(*TODO)
    run.write_config({"images": {task.image: f"sha256:{'0' * 64}"}})
    totals = judge(run, frozen=True)
    assert (totals["errors"], set(verdicts(run).values())) == (len(PAIRS), {None})
    error = totals["results"][0]["error"]
    assert "cannot be pulled" in error
    assert "manifest unknown" in error
    assert cloud.store.names(BUCKET) == []
