"""VMs: tasks packed, tried again, ended; a container engine that is one; and everything gone in the end."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from google.cloud import batch_v1

from tests.loopback.gcp.cloud import BUCKET, Cloud
from tests.loopback.gcp.jobs import PREEMPTED, TOO_LONG, VM_LOST
from tests.loopback.gcp.test_batch import Client, end_of, job_of, request_of, until

IMAGE = "loopback/plain:1"
RETRIED = [50001, 50002, 50003, 50004, 50006]

Run = Callable[..., batch_v1.Job]


@pytest.fixture
def environment(cloud: Cloud) -> dict[str, str]:
    """What a script needs to reach the servers; `put` writes an object once."""
    cloud.zone.shelf.also(IMAGE, "host")
    return {
        "METADATA": cloud.environment["COOPERBENCH_GCP_METADATA_ENDPOINT"],
        "BUCKET": f"{cloud.environment['COOPERBENCH_GCP_STORAGE_ENDPOINT']}/{BUCKET}",
        "IMAGE": IMAGE,
    }


PUT = r"""set -u
token=$(curl -fsS -H 'Metadata-Flavor: Google' \
  "$METADATA/computeMetadata/v1/instance/service-accounts/default/token" | sed 's/.*"access_token": "\([^"]*\)".*/\1/')
put() { curl -fsS -T "$2" -H "Authorization: Bearer $token" -H 'x-goog-if-generation-match: 0' "$BUCKET/$1"; }
"""


@pytest.fixture
def run(cloud: Cloud, batch: Client, environment: dict[str, str]) -> Iterator[Run]:
    """``run(script, task_count=…)``: a job that is gone after the test."""

    def submit(text: str, **group: Any) -> batch_v1.Job:
        spec = {"environment": batch_v1.Environment(variables=environment), **group.pop("spec", {})}
        return batch.create_job(request=request_of(job_of(PUT + text, spec=spec, **group)))

    yield submit
    for record in cloud.batch.records():
        cloud.batch.vanish(record.name)


def text_of(cloud: Cloud, name: str) -> str:
    return cloud.store.get(BUCKET, name).data.decode()


def wait_for(cloud: Cloud, name: str) -> None:
    """Until a task has written an object."""
    until(lambda: name in cloud.store.names(BUCKET))


def codes(job: batch_v1.Job, batch: Client) -> list[int]:
    """Every exit code told of the first task."""
    task = batch.get_task(name=f"{job.name}/taskGroups/group0/tasks/0")
    return [
        event.task_execution.exit_code
        for event in task.status.status_events
        if event.task_execution.exit_code
    ]


def test_a_task_sees_its_vm_and_no_other(cloud: Cloud, run: Run) -> None:
    job = run(
        'echo 1 >/tmp/mine; { ls /tmp; id -u; ls /proc | grep -c "^[0-9]*$"; } >out; put out out\n'
        "touch /usr/x && exit 1; for no in python3 jq git; do command -v $no && exit 2; done; exit 0"
    )
    assert end_of(cloud, job).status.state.name == "SUCCEEDED"
    listed, user, processes = text_of(cloud, "out").rsplit(maxsplit=2)
    assert listed.split() == ["mine", "out"]
    assert user == "0"
    assert int(processes) < 10
    assert not Path("/tmp/mine").exists()


def test_variables_and_packing(cloud: Cloud, run: Run) -> None:
    own = [batch_v1.Environment(variables={"A": str(number), "B": "own"}) for number in range(4)]
    environment = {"A": "all", "B": "all", "C": "all"}
    job = run(
        'echo "$A $B $C $BATCH_TASK_INDEX $BATCH_TASK_COUNT $BATCH_TASK_RETRY_ATTEMPT" >out$A\n'
        'put "seen/$A" "out$A"; echo "$A" >>/tmp/here; until [ "$(wc -l </tmp/here)" = 2 ]; do sleep 0.02; done',
        task_environments=own,
        task_count_per_node=2,
        spec={"environment": batch_v1.Environment(variables={**environment, **_endpoints(cloud)})},
    )
    assert end_of(cloud, job).status.state.name == "SUCCEEDED"
    assert [text_of(cloud, f"seen/{n}") for n in range(4)] == [f"{n} own all {n} 4 0\n" for n in range(4)]
    assert len({vm.name for vm in cloud.zone.made[-2:]}) == 2


def _endpoints(cloud: Cloud) -> dict[str, str]:
    return {
        "METADATA": cloud.environment["COOPERBENCH_GCP_METADATA_ENDPOINT"],
        "BUCKET": f"{cloud.environment['COOPERBENCH_GCP_STORAGE_ENDPOINT']}/{BUCKET}",
    }


def test_failures_are_tried_again(cloud: Cloud, run: Run, batch: Client) -> None:
    job = run("exit $((3 - BATCH_TASK_RETRY_ATTEMPT))", spec={"max_retry_count": 3})
    assert end_of(cloud, job).status.state.name == "SUCCEEDED"
    assert codes(job, batch) == [3, 2, 1]  # which stay, although it succeeded


def test_a_policy_says_which_failures(cloud: Cloud, run: Run, batch: Client) -> None:
    policy = batch_v1.LifecyclePolicy(
        action=batch_v1.LifecyclePolicy.Action.RETRY_TASK,
        action_condition=batch_v1.LifecyclePolicy.ActionCondition(exit_codes=RETRIED),
    )
    spec = {"max_retry_count": 3, "lifecycle_policies": [policy]}
    job = run("exit 9", spec=spec)
    assert end_of(cloud, job).status.state.name == "FAILED"
    assert codes(job, batch) == [9]
    script = '[ $BATCH_TASK_RETRY_ATTEMPT = 2 ] && exit 0; date >x; put "began/$BATCH_TASK_RETRY_ATTEMPT" x; sleep 600'
    job = run(script, spec=spec)
    for attempt, end in enumerate((cloud.preempt, cloud.lose_vm)):
        wait_for(cloud, f"began/{attempt}")
        end(job.name)
    assert end_of(cloud, job).status.state.name == "SUCCEEDED"
    assert codes(job, batch) == [PREEMPTED, VM_LOST]


def test_a_task_has_its_time(cloud: Cloud, run: Run, batch: Client) -> None:
    job = run("sleep 600 & sleep 600", spec={"max_run_duration": "1s"})
    assert end_of(cloud, job).status.state.name == "FAILED"
    assert codes(job, batch) == [TOO_LONG]


def test_containers(cloud: Cloud, run: Run) -> None:
    job = run(
        r"""exec >out 2>&1
docker image inspect $IMAGE; docker pull -q $IMAGE; docker image inspect -f '{{.Id}}' $IMAGE | cut -c1-7
docker run -d --name box --label run=a --network none -e A='x y' -w /made/here --entrypoint /bin/sh $IMAGE \
  -c 'sleep 600' | wc -c
docker exec -e B='$1' box sh -c 'echo "$A $B $1"; pwd; echo err >&2; exit 3' sh "it's"; echo "code $?"
docker exec box /no/such; echo "code $?"
docker exec box sh -c 'kill -TERM $$'; echo "code $?"
echo in | docker exec -i box cat
docker ps -q --filter label=run=a | wc -l; docker inspect -f '{{.State.Running}}' box
docker run --rm --network none $IMAGE sh -c 'echo all; exit 4'; echo "code $?"
docker kill box; docker exec box true; echo "code $?"
docker inspect -f '{{.State.Running}} {{.State.ExitCode}}' box
docker rm -f -v box; docker rm box; echo "code $?"
docker run --no-such $IMAGE; echo "code $?"
docker run -d --network none no/such:image; echo "code $?"
put out out
"""
    )
    assert end_of(cloud, job).status.state.name == "SUCCEEDED"
    said = text_of(cloud, "out")
    expected = [
        f"Error response from daemon: No such image: {IMAGE}", IMAGE, "sha256:", "65", "x y $1 it's", "/made/here",
        "err", "code 3", "code 127", "code 143", "in", "1", "true", "all", "code 4", "box",
        "is not running", "code 1", "false 137", "box", "No such container: box", "code 1", "unknown flag: --no-such",
        "code 125", "manifest unknown", "code 125",
    ]  # fmt: skip
    rest = said
    for line in expected:
        before, found, rest = rest.partition(line)
        assert found, f"{line!r} is not in {before!r}"
    (vm,) = cloud.zone.made[-1:]
    assert vm.engine.pulls == [IMAGE]
    assert vm.engine.leaks == []


def test_files_in_and_out(cloud: Cloud, run: Run) -> None:
    job = run(
        r"""set -e
exec >out 2>&1
docker run -d --name box --network none $IMAGE sleep 600
mkdir -p d/e && printf 'a\0b' >d/f && echo g >d/e/g
docker cp d box:/root/new && docker cp d/f box:/opt/ && docker cp d/f box:/opt/named
tar cf - d | docker cp - box:/srv
docker exec box sh -ec 'cat /root/new/e/g; cmp /opt/f /opt/named; cmp /opt/f /srv/d/f'
docker cp box:/root/new/f back && cmp back d/f
docker cp box:/root/new whole && cmp whole/f d/f
docker cp box:/root/new/. - | tar tf - | sort
docker cp box:/no/such x || echo missing
docker cp d/f box:/no/such/place || echo nowhere
put out out
"""
    )
    assert end_of(cloud, job).status.state.name == "SUCCEEDED", cloud.zone.made[-1].engine.pulls
    said = text_of(cloud, "out").splitlines()[1:]
    assert [line for line in said if "daemon" not in line] == [
        "g",
        "./",
        "./e/",
        "./e/g",
        "./f",
        "missing",
        "nowhere",
    ]


def test_what_a_container_could_reach_is_noted(cloud: Cloud, run: Run) -> None:
    block = "iptables -w -I DOCKER-USER -i docker0 -d 169.254.0.0/16 -j DROP\n"
    job = run(
        f"docker run --rm --name early $IMAGE true\n{block}docker run --rm --name late $IMAGE true\n"
        "docker run --rm --name mighty --privileged --network none $IMAGE true"
    )
    assert end_of(cloud, job).status.state.name == "SUCCEEDED"
    (vm,) = cloud.zone.made[-1:]
    assert [leak.container for leak in vm.engine.leaks] == ["early", "mighty"]


def test_a_vm_takes_its_containers_along(cloud: Cloud, run: Run) -> None:
    mark = f"6{os.getpid()}"
    job = run(
        f"docker run -d --name box --network none $IMAGE sleep {mark}; date >x; put began x; sleep {mark}"
    )
    until(lambda: len(_sleeping(mark)) == 2)
    cloud.delete_job(job.name)
    _gone(mark)


def test_nothing_outlives_the_process() -> None:
    """A test run that is killed leaves no task and no container behind."""
    mark = f"7{os.getpid()}"
    root = Path(__file__).parents[3]
    program = f"""
from google.cloud import batch_v1
from tests.loopback.gcp import loopback
from tests.loopback.gcp.test_batch import job_of, request_of
with loopback(bridge="none") as cloud:
    endpoint = cloud.environment["COOPERBENCH_GCP_BATCH_ENDPOINT"]
    client = batch_v1.BatchServiceClient(client_options={{"api_endpoint": endpoint}})
    script = "(sleep {mark} &); docker run -d --network none host sleep {mark}; exec sleep {mark}"
    client.create_job(request=request_of(job_of(script)))
    input()
"""
    command = [sys.executable, "-c", program]
    with tempfile.TemporaryDirectory(prefix="cb") as directory:  # what it cannot clear away itself
        environment = {**os.environ, "TMPDIR": directory}
        with subprocess.Popen(command, cwd=root, env=environment, stdin=subprocess.PIPE) as process:
            try:
                until(lambda: len(_sleeping(mark)) == 3)
            finally:
                process.send_signal(signal.SIGKILL)
        _gone(mark)


def _sleeping(mark: str) -> list[int]:
    found = []
    for process in psutil.process_iter(["cmdline"]):
        if process.info["cmdline"] == ["sleep", mark]:
            found.append(process.pid)
    return found


def _gone(mark: str) -> None:
    until(lambda: not _sleeping(mark))
