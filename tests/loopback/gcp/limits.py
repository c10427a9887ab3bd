"""What Batch refuses: every documented limit that a job of ours could meet, each with where it is documented.

`quotas` is https://cloud.google.com/batch/quotas; `client` the docstrings of google-cloud-batch 0.22.4; `labels`
https://cloud.google.com/compute/docs/labeling-resources#requirements.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Mapping

from google.api_core import exceptions
from google.cloud import batch_v1

MAX_DEFINITION = 1_000_000  # quotas: "Size of the job definition", 1 MB
MAX_TASKS = 100_000  # quotas: "Tasks per task group"
MAX_PARALLEL = 5_000  # quotas: "Parallel tasks per job"
MAX_RETRIES = 10  # client: TaskSpec.max_retry_count is in [0, 10]
MAX_RUN_SECONDS = 14 * 86400  # quotas: "Run time before automatic failure"
MAX_LABELS = 64  # labels
JOB_ID = re.compile(
    r"[a-z]([a-z0-9-]{0,61}[a-z0-9])?"
)  # client: CreateJobRequest.job_id, at most 63 characters
_LABEL_KEY = re.compile(r"[a-z][a-z0-9_-]{0,62}")  # labels
_LABEL_VALUE = re.compile(r"[a-z0-9_-]{0,63}")  # labels


def check(request: batch_v1.CreateJobRequest) -> None:
    """Refuse what the vendor refuses.

    Raises:
        InvalidArgument: with what is wrong.
    """
    job = request.job
    _true(JOB_ID.fullmatch(request.job_id), f"Job ID {request.job_id!r} is invalid")
    check_request_id(request.request_id)
    # client: Job.task_groups, "Only one TaskGroup is supported now".
    _true(len(job.task_groups) == 1, f"Job must have exactly one TaskGroup, not {len(job.task_groups)}")
    size = len(batch_v1.Job.serialize(job))
    _true(size <= MAX_DEFINITION, f"Job definition of {size} bytes is larger than {MAX_DEFINITION} bytes")
    _check_group(job.task_groups[0])
    _check_labels(job.labels)
    region = request.parent.rpartition("/")[2]
    # client: AllocationPolicy.LocationPolicy.allowed_locations, all in the region of the job.
    for place in job.allocation_policy.location.allowed_locations:
        name = place.rpartition("/")[2]
        fits = name == region or (place.startswith("zones/") and name.startswith(f"{region}-"))
        _true(fits, f"allowed location {place} is not in the job's region {region}")
    # client: AllocationPolicy.instances, "only instances[0] is supported now".
    _true(len(job.allocation_policy.instances) <= 1, "only one instance policy is supported")


def check_request_id(number: str) -> None:
    """client: "must be a valid UUID with the exception that zero UUID is not supported"."""
    if not number:
        return
    try:
        valid = uuid.UUID(number).int != 0
    except ValueError:
        valid = False
    _true(valid, f"request_id {number!r} is not a valid UUID")


def tasks(group: batch_v1.TaskGroup) -> int:
    """How many tasks a group has: client, TaskGroup.task_count "if this is not set, 1"; task_environments decide."""
    return len(group.task_environments) or group.task_count or 1


def _check_group(group: batch_v1.TaskGroup) -> None:
    count, spec = tasks(group), group.task_spec
    _true(0 < count <= MAX_TASKS, f"a task group has at most {MAX_TASKS} tasks, not {count}")
    if group.task_count and group.task_environments:
        _true(group.task_count == len(group.task_environments), "task_count differs from task_environments")
    _true(0 <= group.parallelism <= MAX_PARALLEL, f"parallelism {group.parallelism}: at most {MAX_PARALLEL}")
    _true(0 <= group.task_count_per_node <= 1000, f"task_count_per_node {group.task_count_per_node}")
    _true(
        0 <= spec.max_retry_count <= MAX_RETRIES,
        f"max_retry_count {spec.max_retry_count}: 0 to {MAX_RETRIES}",
    )
    # client: TaskSpec.lifecycle_policies, "only one lifecycle policy" with RETRY_TASK or FAIL_TASK is in effect.
    _true(len(spec.lifecycle_policies) <= 1, "only one lifecycle policy is supported")
    _true(spec.runnables, "a task needs a runnable")
    seconds = spec.max_run_duration.total_seconds() if spec.max_run_duration else 0
    _true(0 <= seconds <= MAX_RUN_SECONDS, f"max_run_duration {seconds:g} s: at most {MAX_RUN_SECONDS}")
    for runnable in spec.runnables:
        kind = type(runnable).pb(runnable).WhichOneof("executable")
        _true(kind in ("script", "container"), f"loopback server: runnables of kind {kind} are not served")


def _check_labels(labels: Mapping[str, str]) -> None:
    _true(len(labels) <= MAX_LABELS, f"{len(labels)} labels: at most {MAX_LABELS}")
    for key, value in labels.items():
        _true(
            _LABEL_KEY.fullmatch(key) and _LABEL_VALUE.fullmatch(value), f"label {key}={value!r} is invalid"
        )


def _true(condition: object, message: str) -> None:
    if not condition:
        raise exceptions.InvalidArgument(message)
