"""The Batch server against the vendor's client: limits, idempotency, states, operations."""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import google.auth
import pytest
from google.api_core import exceptions
from google.api_core.client_options import ClientOptions
from google.auth.credentials import AnonymousCredentials
from google.cloud import batch_v1
from google.cloud.batch_v1.services.batch_service.transports import BatchServiceRestTransport

from tests.loopback.gcp import limits
from tests.loopback.gcp.cloud import PROJECT, REGION, Cloud
from tests.loopback.gcp.jobs import TaskState

PARENT = f"projects/{PROJECT}/locations/{REGION}"
Client = batch_v1.BatchServiceClient
Submit = Callable[..., batch_v1.Job]


def job_of(text: str, **group: Any) -> batch_v1.Job:
    """A job of tasks that run one script."""
    spec = batch_v1.TaskSpec(
        runnables=[batch_v1.Runnable(script=batch_v1.Runnable.Script(text=text))], **group.pop("spec", {})
    )
    return batch_v1.Job(task_groups=[batch_v1.TaskGroup(task_spec=spec, **group)])


def request_of(job: batch_v1.Job, job_id: str = "", request_id: str = "") -> batch_v1.CreateJobRequest:
    job_id = job_id or f"t-{uuid.uuid4().hex[:12]}"
    return batch_v1.CreateJobRequest(parent=PARENT, job_id=job_id, job=job, request_id=request_id)


def until(holds: Callable[[], object]) -> None:
    """Wait for something that must come."""
    deadline = time.monotonic() + 120
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def end_of(cloud: Cloud, job: batch_v1.Job) -> batch_v1.Job:
    """The job once it has ended."""
    (record,) = (each for each in cloud.batch.records() if each.name == job.name)
    assert record.ended.wait(120)
    return record.snapshot()


@pytest.fixture
def submit(cloud: Cloud, batch: Client) -> Iterator[Submit]:
    """``submit(script, task_count=…)``: jobs that are gone after the test."""
    made: list[str] = []

    def create(text: str, **group: Any) -> batch_v1.Job:
        job = batch.create_job(request=request_of(job_of(text, **group)))
        made.append(job.name)
        return job

    yield create
    for record in cloud.batch.records():
        cloud.batch.vanish(record.name)


def test_a_job_runs(submit: Submit, cloud: Cloud, batch: Client) -> None:
    job = submit("exit 0", task_count=3)
    assert job.name.startswith(f"{PARENT}/jobs/t-")
    assert job.uid
    done = end_of(cloud, job)
    assert done.status.state.name == "SUCCEEDED"
    assert dict(done.status.task_groups["group0"].counts) == {"SUCCEEDED": 3}
    told = " ".join(event.description for event in done.status.status_events)
    for step in ("from QUEUED to SCHEDULED", "from SCHEDULED to RUNNING", "from RUNNING to SUCCEEDED"):
        assert step in told
    assert batch.get_job(name=job.name).status.state == done.status.state


def test_an_exit_code_is_told_of_failures_alone(submit: Submit, cloud: Cloud, batch: Client) -> None:
    job = submit("exit $((BATCH_TASK_INDEX * 7))", task_count=2)
    assert end_of(cloud, job).status.state.name == "FAILED"
    fine, failed = batch.list_tasks(parent=f"{job.name}/taskGroups/group0")
    assert fine.status.state == TaskState.SUCCEEDED
    assert not any(event.task_execution.exit_code for event in fine.status.status_events)
    assert failed.status.status_events[-1].task_execution.exit_code == 7
    assert batch.get_task(name=failed.name).status.state == TaskState.FAILED
    only = batch.list_tasks(request={"parent": f"{job.name}/taskGroups/group0", "filter": "STATE=FAILED"})
    assert [task.name for task in only] == [failed.name]


def test_the_same_request_makes_one_job(cloud: Cloud, batch: Client, submit: Submit) -> None:
    del submit  # clears up
    request = request_of(job_of("exit 0"), request_id=str(uuid.uuid4()))
    cloud.fault("batch.CreateJob", lost=True)
    with pytest.raises(exceptions.ServiceUnavailable):
        batch.create_job(request=request)
    again = batch.create_job(request=request)
    assert [record.name for record in cloud.batch.records()] == [again.name]
    other = batch_v1.CreateJobRequest(request)
    other.request_id = str(uuid.uuid4())
    with pytest.raises(exceptions.AlreadyExists):
        batch.create_job(request=other)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"task_count": limits.MAX_TASKS + 1}, "at most 100000 tasks"),
        ({"parallelism": limits.MAX_PARALLEL + 1, "task_count": 9000}, "at most 5000"),
        ({"spec": {"max_retry_count": 11}}, "0 to 10"),
        ({"spec": {"max_run_duration": "1209601s"}}, "at most 1209600"),
        ({"text": "#" * 1_000_001}, "larger than 1000000 bytes"),
    ],
)
def test_limits(change: dict[str, Any], said: str, cloud: Cloud, batch: Client) -> None:
    job = job_of(**{"text": "exit 0", **change})
    with pytest.raises(exceptions.InvalidArgument, match=said):
        batch.create_job(request=request_of(job))
    assert cloud.batch.records() == []


@pytest.mark.parametrize("job_id", ["a" * 64, "Capital", "1digit", "dash-", "under_score"])
def test_ids_that_are_none(job_id: str, cloud: Cloud, batch: Client) -> None:
    with pytest.raises(exceptions.InvalidArgument, match="Job ID"):
        batch.create_job(request=request_of(job_of("exit 0"), job_id))
    assert cloud.batch.records() == []


def test_more_that_is_refused(cloud: Cloud, batch: Client) -> None:
    fine = job_of("exit 0")
    two = batch_v1.Job(task_groups=[fine.task_groups[0]] * 2)
    elsewhere, labelled = batch_v1.Job(fine), batch_v1.Job(fine)
    elsewhere.allocation_policy.location.allowed_locations = ["regions/europe-west1"]
    labelled.labels = {"run": "Not/Allowed"}
    for job, said in ((two, "one TaskGroup"), (elsewhere, "not in the job's region"), (labelled, "label")):
        with pytest.raises(exceptions.InvalidArgument, match=said):
            batch.create_job(request=request_of(job))
    for number in ("no-uuid", str(uuid.UUID(int=0))):
        with pytest.raises(exceptions.InvalidArgument, match="UUID"):
            batch.create_job(request=request_of(fine, request_id=number))
    with pytest.raises(exceptions.PermissionDenied):
        batch.create_job(parent="projects/other/locations/us-central1", job=fine, job_id="x")
    assert cloud.batch.records() == []


def test_jobs_are_found_by_label(cloud: Cloud, batch: Client, submit: Submit) -> None:
    del submit
    for run in ("a", "b", "b"):
        job = job_of("exit 0")
        job.labels = {"run": run, "product": "x"}
        end_of(cloud, batch.create_job(request=request_of(job)))
    found = batch.list_jobs(
        request={"parent": PARENT, "filter": 'labels.run="b" AND labels.product=x', "page_size": 1}
    )
    assert len(list(found)) == 2
    assert cloud.traffic.count("batch.ListJobs") == 2
    assert len(list(batch.list_jobs(request={"parent": PARENT, "filter": "status.state=SUCCEEDED"}))) == 3
    with pytest.raises(exceptions.InvalidArgument):
        batch.list_jobs(request={"parent": PARENT, "filter": "uid:*"})


def test_cancelling_and_deleting(cloud: Cloud, batch: Client, submit: Submit) -> None:
    job = submit("sleep 600")
    until(lambda: "RUNNING" in batch.get_job(name=job.name).status.task_groups["group0"].counts)
    batch.cancel_job(name=job.name).result(timeout=60)
    stopped = batch.get_job(name=job.name)
    assert stopped.status.state.name == "CANCELLED"
    assert dict(stopped.status.task_groups["group0"].counts) == {"FAILED": 1}
    with pytest.raises(exceptions.FailedPrecondition):
        batch.cancel_job(name=job.name)
    batch.delete_job(name=job.name).result(timeout=60)
    with pytest.raises(exceptions.NotFound):
        batch.get_job(name=job.name)
    running = submit("sleep 600")
    batch.delete_job(name=running.name).result(timeout=60)
    assert cloud.batch.records() == []


def test_without_quota_a_job_waits_and_says_so(cloud: Cloud, batch: Client, submit: Submit) -> None:
    cloud.zone.no_quota = "Quota checking process decided to delay scheduling: CPUS exceeded in us-central1."
    job = submit("exit 0")
    until(lambda: batch.get_job(name=job.name).status.status_events)
    waiting = batch.get_job(name=job.name)
    assert waiting.status.state.name == "QUEUED"
    assert [event.description for event in waiting.status.status_events] == [cloud.zone.no_quota]
    cloud.zone.give_quota()
    assert end_of(cloud, job).status.state.name == "SUCCEEDED"


def test_errors_by_their_own_names(cloud: Cloud, batch: Client) -> None:
    for status, kind in ((429, exceptions.ResourceExhausted), (500, exceptions.InternalServerError)):
        cloud.fault("batch.GetJob", status=status)
        with pytest.raises(kind):
            batch.get_job(name=f"{PARENT}/jobs/x")
    cloud.accounts.denied.add("iam.serviceAccounts.actAs")
    with pytest.raises(exceptions.PermissionDenied, match="actAs"):
        batch.create_job(request=request_of(job_of("exit 0")))


def test_a_call_can_be_held_up(cloud: Cloud, batch: Client, submit: Submit) -> None:
    del submit
    fault = cloud.fault("batch.CreateJob", gate=threading.Event())
    caller = threading.Thread(target=batch.create_job, kwargs={"request": request_of(job_of("exit 0"))})
    caller.start()
    assert fault.reached.wait(60)
    assert fault.gate is not None
    fault.gate.set()
    caller.join(60)
    assert len(cloud.batch.records()) == 1


def test_a_jwt_of_nobody_is_refused(cloud: Cloud) -> None:
    endpoint = cloud.environment["COOPERBENCH_GCP_BATCH_ENDPOINT"]
    options = ClientOptions(api_endpoint=endpoint)
    client = batch_v1.BatchServiceClient(credentials=AnonymousCredentials(), client_options=options)
    with client as nobody, pytest.raises(exceptions.Unauthenticated):
        nobody.get_job(name=f"{PARENT}/jobs/x")


def test_the_rest_flavour(cloud: Cloud, submit: Submit) -> None:
    del submit
    scopes = ["https://www.googleapis.com/auth/cloud-platform"]
    credentials, _ = google.auth.default(scopes=scopes)
    transport = BatchServiceRestTransport(
        host=cloud.rest_url.removeprefix("http://"), credentials=credentials, url_scheme="http"
    )
    credentials._always_use_jwt_access = False  # an access token, as REST callers of other languages have
    with batch_v1.BatchServiceClient(transport=transport) as rest:
        job = rest.create_job(request=request_of(job_of("exit 5")))
        assert end_of(cloud, job).status.state.name == "FAILED"
        (task,) = rest.list_tasks(parent=f"{job.name}/taskGroups/group0")
        assert task.status.status_events[-1].task_execution.exit_code == 5
        assert [each.name for each in rest.list_jobs(parent=PARENT)] == [job.name]
        with pytest.raises(exceptions.Conflict):
            rest.create_job(request=request_of(job_of("exit 0"), job.name.rpartition("/")[2]))
        rest.delete_job(name=job.name).result(timeout=60)
        with pytest.raises(exceptions.NotFound):
            rest.get_job(name=job.name)
