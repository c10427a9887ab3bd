"""Batch v1: what its RPCs do, whatever the transport they come by."""

from __future__ import annotations

import re
import threading
import uuid
from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

from google.api_core import exceptions
from google.cloud import batch_v1
from google.longrunning import operations_pb2
from google.protobuf import empty_pb2
from google.protobuf.message import Message

from tests.loopback.gcp import limits
from tests.loopback.gcp.jobs import ENDED, STOPPING, JobRecord, State, now

Item = TypeVar("Item")

PAGE = 100
_LABEL = re.compile(r'labels\.(?:"([^"]+)"|([\w-]+))\s*=\s*"?([^"\s]*)"?')
_STATUS = re.compile(r'status\.state\s*=\s*"?(\w+)"?')
_TASK_STATE = re.compile(r'(?i)(?:status\.)?state\s*=\s*"?(\w+)"?')


class BatchService:
    """Jobs of one project and region; `launch` makes a job run, in a thread of its own."""

    def __init__(self, parent: str, launch: Callable[[JobRecord], None]) -> None:
        self.parent = parent
        self._launch = launch
        self._lock = threading.RLock()
        self._jobs: dict[str, JobRecord] = {}
        self._requests: dict[str, str] = {}
        """request_id to the name of the job it made."""
        self._operations: dict[str, operations_pb2.Operation] = {}

    # ------------------------------------------------------------------------------------------ for tests

    def records(self) -> list[JobRecord]:
        """Every job there is, oldest first."""
        with self._lock:
            return list(self._jobs.values())

    def vanish(self, name: str) -> None:
        """Somebody else deletes a job, at once."""
        record = self._record(name)
        record.stop.set()
        record.ended.wait(30)
        with self._lock:
            self._jobs.pop(name, None)

    # ------------------------------------------------------------------------------------------ RPCs

    def CreateJob(self, request: batch_v1.CreateJobRequest) -> batch_v1.Job:  # noqa: N802
        """A new job, or the one that the same request_id has made."""
        with self._lock:
            if request.request_id in self._requests:
                return self._record(self._requests[request.request_id]).snapshot()
            if request.parent != self.parent:
                raise exceptions.PermissionDenied(f"Permission denied on {request.parent}")
            request.job_id = request.job_id or f"j-{uuid.uuid4().hex[:20]}"
            limits.check(request)
            name = f"{request.parent}/jobs/{request.job_id}"
            if name in self._jobs:
                raise exceptions.AlreadyExists(f"Resource '{name}' already exists")
            record = self._jobs[name] = _record(name, request)
            if request.request_id:
                self._requests[request.request_id] = name
        self._launch(record)
        return record.snapshot()

    def GetJob(self, request: batch_v1.GetJobRequest) -> batch_v1.Job:  # noqa: N802
        """A job as it stands."""
        return self._record(request.name).snapshot()

    def ListJobs(self, request: batch_v1.ListJobsRequest) -> batch_v1.ListJobsResponse:  # noqa: N802
        """Jobs that the filter fits, oldest first unless asked otherwise."""
        everywhere = re.sub("[^/]*$", "-", self.parent)
        if request.parent not in (self.parent, everywhere):
            raise exceptions.PermissionDenied(f"Permission denied on {request.parent}")
        jobs = [record.snapshot() for record in self.records()]
        found = [job for job in jobs if all(fits(job) for fits in _conditions(request.filter))]
        if request.order_by:
            key, _, direction = request.order_by.partition(" ")
            if key not in ("name", "create_time") or direction not in ("", "desc"):
                raise exceptions.InvalidArgument(f"order_by {request.order_by!r}")
            found.sort(key=lambda job: getattr(job, key), reverse=bool(direction))
        page, token = _page(found, request.page_size, request.page_token)
        return batch_v1.ListJobsResponse(jobs=page, next_page_token=token)

    def GetTask(self, request: batch_v1.GetTaskRequest) -> batch_v1.Task:  # noqa: N802
        """One task as it stands."""
        group, _, index = request.name.rpartition("/tasks/")
        record = self._record(group.partition("/taskGroups/")[0])
        if not index.isdigit() or int(index) >= len(record.tasks):
            raise exceptions.NotFound(f"Resource '{request.name}' was not found")
        return record.task(record.tasks[int(index)])

    def ListTasks(self, request: batch_v1.ListTasksRequest) -> batch_v1.ListTasksResponse:  # noqa: N802
        """Tasks of a group, by index."""
        record = self._record(request.parent.partition("/taskGroups/")[0])
        tasks = record.tasks
        if request.filter:
            asked = _TASK_STATE.fullmatch(request.filter.strip())
            if not asked:
                raise exceptions.InvalidArgument(f"filter {request.filter!r}")
            tasks = [task for task in tasks if task.state.name == asked[1].upper()]
        page, token = _page(tasks, request.page_size, request.page_token)
        return batch_v1.ListTasksResponse(tasks=[record.task(task) for task in page], next_page_token=token)

    def DeleteJob(self, request: batch_v1.DeleteJobRequest) -> operations_pb2.Operation:  # noqa: N802
        """Stop a job if it runs, and forget it."""
        limits.check_request_id(request.request_id)
        record = self._record(request.name)

        def forget() -> Message:
            with self._lock:
                self._jobs.pop(request.name, None)
            return empty_pb2.Empty()

        return self._stopping(record, "delete", State.DELETION_IN_PROGRESS, forget)

    def CancelJob(self, request: batch_v1.CancelJobRequest) -> operations_pb2.Operation:  # noqa: N802
        """Stop a job and keep it; one that has ended cannot be cancelled (assumed: not documented)."""
        limits.check_request_id(request.request_id)
        record = self._record(request.name)
        if record.state in ENDED or record.state in STOPPING:
            raise exceptions.FailedPrecondition(f"Job {request.name} is in state {record.state.name}")

        def mark() -> Message:
            record.become(State.CANCELLED)
            return batch_v1.CancelJobResponse.pb(batch_v1.CancelJobResponse())

        return self._stopping(record, "cancel", State.CANCELLATION_IN_PROGRESS, mark)

    def GetOperation(self, request: operations_pb2.GetOperationRequest) -> operations_pb2.Operation:  # noqa: N802
        """How far a deletion or cancellation is."""
        with self._lock:
            if request.name not in self._operations:
                raise exceptions.NotFound(f"Resource '{request.name}' was not found")
            found = operations_pb2.Operation()
            found.CopyFrom(self._operations[request.name])
            return found

    # ------------------------------------------------------------------------------------------ inside

    def _record(self, name: str) -> JobRecord:
        with self._lock:
            if name not in self._jobs:
                raise exceptions.NotFound(f"Resource '{name}' was not found")
            return self._jobs[name]

    def _stopping(
        self, record: JobRecord, verb: str, state: State, finish: Callable[[], Message]
    ) -> operations_pb2.Operation:
        with record.lock:
            if state is State.DELETION_IN_PROGRESS:
                record.job.status.state = state
            else:
                record.become(state)
        operation = operations_pb2.Operation(name=f"{self.parent}/operations/operation-{uuid.uuid4().hex}")
        metadata = batch_v1.OperationMetadata(
            target=record.name, verb=verb, create_time=now(), api_version="v1"
        )
        operation.metadata.Pack(batch_v1.OperationMetadata.pb(metadata))
        with self._lock:
            self._operations[operation.name] = operation

        def work() -> None:
            record.stop.set()
            record.ended.wait(60)
            result = finish()
            with self._lock:
                operation.response.Pack(result)
                operation.done = True

        answer = operations_pb2.Operation()
        answer.CopyFrom(operation)
        threading.Thread(target=work, name=f"{verb} {record.name}", daemon=True).start()
        return answer


def _record(name: str, request: batch_v1.CreateJobRequest) -> JobRecord:
    job = batch_v1.Job(request.job)
    job.name, job.uid, job.create_time = name, f"{request.job_id[:40]}-{uuid.uuid4().hex[:8]}", now()
    group = job.task_groups[0]
    group.task_count = limits.tasks(group)
    group.name = f"{name}/taskGroups/group0"
    group.parallelism = group.parallelism or min(group.task_count, limits.MAX_PARALLEL)
    job.status = batch_v1.JobStatus(state=State.QUEUED)
    return JobRecord(job, group.task_count)


def _conditions(text: str) -> Iterator[Callable[[batch_v1.Job], bool]]:
    for term in filter(None, (part.strip() for part in re.split(r"\s+AND\s+", text))):
        if found := _LABEL.fullmatch(term):
            yield lambda job, key=found[1] or found[2], value=found[3]: job.labels.get(key) == value
        elif found := _STATUS.fullmatch(term):
            yield lambda job, name=found[1]: job.status.state.name == name
        else:
            raise exceptions.InvalidArgument(f"filter {term!r} is not served")


def _page(items: Sequence[Item], size: int, token: str) -> tuple[Sequence[Item], str]:
    start = int(token) if token else 0
    end = start + (size or PAGE)
    return items[start:end], str(end) if end < len(items) else ""
