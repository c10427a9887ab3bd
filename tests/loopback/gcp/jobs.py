"""What Batch knows of a job while it runs: states, events, counts.

Facts kept: an exit code is in a task's events only where it failed, and an old one stays there after a successful retry
(nextflow #6779, #6977); counts are by state in ``status.task_groups["group0"]``.
"""

from __future__ import annotations

import collections
import datetime
import threading
import time
from dataclasses import dataclass, field

from google.cloud import batch_v1

State = batch_v1.JobStatus.State
TaskState = batch_v1.TaskStatus.State
ENDED = frozenset({State.SUCCEEDED, State.FAILED, State.CANCELLED})
STOPPING = frozenset({State.DELETION_IN_PROGRESS, State.CANCELLATION_IN_PROGRESS})

PREEMPTED, VM_LOST, TOO_LONG = 50001, 50002, 50005
"""https://cloud.google.com/batch/docs/troubleshooting#reserved-exit-codes"""


def now() -> datetime.datetime:
    """The time of an event."""
    return datetime.datetime.now(datetime.UTC)


@dataclass(slots=True)
class TaskRecord:
    """One task."""

    index: int
    state: TaskState = TaskState.PENDING
    events: list[batch_v1.StatusEvent] = field(default_factory=list)
    attempts: int = 0

    def become(self, state: TaskState, text: str = "", code: int | None = None) -> None:
        """Change state; `code` is told only where something failed."""
        event = batch_v1.StatusEvent(
            type_="STATUS_CHANGED",
            description=f"Task state is updated from {self.state.name} to {state.name} {text}".rstrip(),
            event_time=now(),
            task_state=state,
        )
        if code:
            event.task_execution = batch_v1.TaskExecution(exit_code=code)
        self.state = state
        self.events.append(event)


class JobRecord:
    """One job."""

    def __init__(self, job: batch_v1.Job, tasks: int) -> None:
        self.job = job
        self.tasks = [TaskRecord(index) for index in range(tasks)]
        self.stop = threading.Event()
        """Nothing of it is to run any more."""
        self.ended = threading.Event()
        """Nothing of it runs any more."""
        self.lock = threading.RLock()
        self._began = time.monotonic()

    @property
    def name(self) -> str:
        """``projects/…/locations/…/jobs/ID``."""
        return self.job.name

    @property
    def group(self) -> batch_v1.TaskGroup:
        """Its one group."""
        return self.job.task_groups[0]

    @property
    def state(self) -> State:
        """Where it stands."""
        return self.job.status.state

    def become(self, state: State) -> None:
        """Change state, unless it ended, or is being stopped and this is not its end."""
        with self.lock:
            old = self.state
            if old in ENDED or (old in STOPPING and state in (State.SCHEDULED, State.RUNNING)):
                return
            if old is State.CANCELLATION_IN_PROGRESS and state in ENDED:
                state = State.CANCELLED
            if old is State.DELETION_IN_PROGRESS:
                return
            self.job.status.state = state
            self.job.status.run_duration = datetime.timedelta(seconds=time.monotonic() - self._began)
            self.note(
                "STATUS_CHANGED", f"Job state is set from {old.name} to {state.name} for job {self.name}."
            )

    def note(self, kind: str, text: str) -> None:
        """Add to the job's events."""
        with self.lock:
            event = batch_v1.StatusEvent(type_=kind, description=text, event_time=now())
            self.job.status.status_events.append(event)

    def snapshot(self) -> batch_v1.Job:
        """As GetJob shows it."""
        with self.lock:
            counts = collections.Counter(task.state.name for task in self.tasks)
            shown = batch_v1.Job(self.job)
            shown.update_time = now()
        kind = batch_v1.JobStatus.InstanceStatus(task_pack=max(1, self.group.task_count_per_node))
        shown.status.task_groups = {
            "group0": batch_v1.JobStatus.TaskGroupStatus(counts=dict(counts), instances=[kind])
        }
        return shown

    def task(self, record: TaskRecord) -> batch_v1.Task:
        """As GetTask shows it."""
        return batch_v1.Task(
            name=f"{self.group.name}/tasks/{record.index}",
            status=batch_v1.TaskStatus(state=record.state, status_events=record.events),
        )
