"""kill -9 of a harness that judges on gcp, at its worst instants: the same command goes on, nothing is done twice."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from threading import Event
from typing import Any

import pytest

from cooperbench.runs import RunDirectory
from tests.gcp import clouds
from tests.gcp.trials import PAIRS, verdicts
from tests.loopback.gcp.cloud import BUCKET, Cloud
from tests.loopback.gcp.test_batch import until
from tests.loopback.gcp.traffic import Fault

ROOT = Path(__file__).parents[2]


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


def accounts(run: RunDirectory) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads((run.path / "batches.json").read_text())
    return found


def check_whole(run: RunDirectory, cloud: Cloud) -> None:
    """All is judged, each trial once, in one batch; nothing is left."""
    assert verdicts(run) == PAIRS
    assert run.read_batch() is None
    (account,) = accounts(run)
    assert account["judgements"] == len(PAIRS)
    assert account["machine_seconds"] > 0, "what it has cost is not lost with its job"
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
        ("batch.ListTasks", "*"),
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


@pytest.fixture
def unclaimed(cloud: Cloud) -> Iterator[Event]:
    """No machine gets to judge anything until this is set."""
    gate = Event()
    cloud.fault(
        "storage.objects.create", subject="*/claims/*", account=cloud.accounts.vm, times=99, gate=gate
    )
    yield gate
    gate.set()


def press(process: subprocess.Popen[bytes], answer: bytes) -> None:
    """Ctrl-C, once more; until it is told what that does."""
    assert process.stderr is not None
    process.send_signal(signal.SIGINT)
    while answer not in (line := process.stderr.readline()):
        assert line, process.wait()


def test_ctrl_c_leaves_it_going(run: RunDirectory, cloud: Cloud, unclaimed: Event) -> None:
    with begin(run, cloud) as process:
        until(lambda: any(name.endswith("/manifest") for name in cloud.store.names(BUCKET)))
        press(process, b"Ctrl-C within 10 s cancels it")
        process.communicate()
    assert process.returncode == 130
    assert [record.ended.is_set() for record in cloud.batch.records()] == [False]
    unclaimed.set()
    judge(run, cloud)
    check_whole(run, cloud)


def test_ctrl_c_again_cancels_it(run: RunDirectory, cloud: Cloud, unclaimed: Event) -> None:
    with begin(run, cloud) as process:
        until(lambda: cloud.traffic.count("storage.objects.create", account=cloud.accounts.vm) > 0)
        press(process, b"Ctrl-C within 10 s cancels it")
        press(process, b"cancelling the batch")
        process.communicate()
    assert process.returncode == 130
    assert not unclaimed.is_set()
    assert cloud.batch.records() == []
    assert cloud.store.names(BUCKET) == []
    assert run.read_batch() is None
    assert [account["judgements"] for account in accounts(run)] == [len(PAIRS)], "it is accounted for"
    asked = [call.operation for call in cloud.traffic.calls if call.account == cloud.accounts.harness]
    late = asked[asked.index("batch.DeleteJob") :]
    assert late.count("storage.objects.list") == 2, (
        "its machines end before anything is collected and removed"
    )
    assert "batch.ListTasks" not in late


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
