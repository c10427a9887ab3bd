"""kill -9 of a harness that judges on gcp, at its worst instants: the same command goes on, nothing is done twice."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections import Counter
from pathlib import Path

import pytest

from cooperbench.dataset import Pair, demo_dataset, load_dataset
from cooperbench.eval.sources import ready_image
from cooperbench.runs import RunDirectory
from tests.gcp import clouds
from tests.judging.parity import TODO
from tests.loopback.gcp.cloud import BUCKET, Cloud
from tests.loopback.gcp.test_batch import until
from tests.loopback.gcp.traffic import Fault

ROOT = Path(__file__).parents[2]
PAIRS = {(1, 2): False, (1, 3): True, (2, 3): True, (3, 4): False}
"""Features whose reference solutions are handed in; whether they pass together."""


@pytest.fixture
def run(tmp_path: Path, cloud: Cloud) -> RunDirectory:
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


def begin(run: RunDirectory, cloud: Cloud) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "tests.gcp.driver", str(run.path.parent), run.name]
    environment = {**os.environ, **cloud.environment}
    return subprocess.Popen(
        command,
        cwd=ROOT,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )


def judge(run: RunDirectory, cloud: Cloud) -> None:
    """To the end."""
    with begin(run, cloud) as process:
        _, said = process.communicate(timeout=240)
        assert process.returncode == 0, said.decode()


def kill_at(happens: Fault, run: RunDirectory, cloud: Cloud) -> None:
    """Once a call has been held up there, whose answer will not be read any more."""
    assert happens.gate is not None
    with begin(run, cloud) as process:
        assert happens.reached.wait(120), process.poll()
        process.kill()
        process.communicate()
    happens.gate.set()


def verdicts(run: RunDirectory) -> dict[tuple[int, ...], bool | None]:
    return {trial.pair.features: (trial.read_verdict() or {}).get("passed") for trial in run.trials()}


def check_whole(run: RunDirectory, cloud: Cloud) -> None:
    """All is judged, each trial once, in one batch; nothing is left."""
    assert verdicts(run) == PAIRS
    assert run.read_batch() is None
    (account,) = json.loads((run.path / "batches.json").read_text())
    assert account["judgements"] == len(PAIRS)
    assert cloud.batch.records() == []
    assert cloud.store.names(BUCKET) == []
    made = Counter(name.rpartition("-")[2] for vm in cloud.zone.made for name in vm.engine.made)
    assert made == {str(n): 1 for n in range(len(PAIRS))}
    assert max(cloud.store.writes.values()) == 1


def test_while_it_runs(run: RunDirectory, cloud: Cloud) -> None:
    with begin(run, cloud) as process:
        until(lambda: any(vm.engine.made for vm in cloud.zone.made))
        process.kill()
        process.communicate()
    judge(run, cloud)
    check_whole(run, cloud)


@pytest.mark.timeout(900)
def test_at_every_step(run: RunDirectory, cloud: Cloud) -> None:
    """At each kind of call in turn, done and its answer not read yet, until there is none left to be killed at."""
    steps = (
        ("storage.objects.create", "*/work"),
        ("storage.objects.create", "*/manifest"),
        ("batch.CreateJob", "*"),
        ("storage.objects.list", "*"),
        ("storage.objects.get", "*/results/*"),
        ("batch.DeleteJob", "*"),
        ("storage.batch", "*"),
    )
    for operation, subject in steps:
        happens = cloud.fault(
            operation, subject=subject, account=cloud.accounts.harness, gate=threading.Event()
        )
        kill_at(happens, run, cloud)
    judge(run, cloud)
    check_whole(run, cloud)


def test_what_a_killed_harness_left_is_swept(cloud: Cloud) -> None:
    """Sandboxes have no use without their harness, unlike batches."""
    program = f"""
from cooperbench.eval import backends
sandbox = backends.get_backend("gcp").create_sandbox({clouds.IMAGE!r})
print(sandbox.exec("echo", "ready").stdout_read(), end="", flush=True)
input()
"""
    environment = {**os.environ, **cloud.environment}
    with subprocess.Popen(
        [sys.executable, "-c", program], env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        with clouds.backend_on(cloud) as backend:
            live = backend.create_sandbox(clouds.IMAGE)
            assert backend.sweep() == []  # both are in use
            process.kill()
            process.wait()
            assert len(backend.sweep()) == 1
            assert live.exec("echo", "lives").stdout_read() == "lives\n"
            live.terminate()
