"""Jobs of the Batch service: how ours are made, submitted once, looked at and ended."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from cooperbench.eval.backends.gcp.agent import program
from cooperbench.eval.backends.gcp.clients import Clients
from cooperbench.eval.backends.gcp.config import Settings
from cooperbench.eval.backends.gcp.machines import machine
from cooperbench.eval.backends.gcp.store import PREFIX
from cooperbench.eval.backends.gcp.trouble import Refused, complaints, patiently

RETRIED = (50001, 50002, 50003, 50004, 50006)
"""Exit codes the service reserves for a machine that was taken away, fell silent or started anew."""

_OVER = frozenset({"SUCCEEDED", "FAILED", "CANCELLED", "CANCELLATION_IN_PROGRESS", "DELETION_IN_PROGRESS"})
_ALIVE_TASK = frozenset({"STATE_UNSPECIFIED", "PENDING", "ASSIGNED", "RUNNING"})
_SHARED_MEMORY = 256
_FAREWELL = 20.0
"""Seconds to wait for jobs to be gone."""
_LONGEST = 13 * 86400
"""Seconds; the service ends a job after 14 days."""


@dataclass(frozen=True, slots=True)
class Order:
    """A job we want."""

    job_id: str
    role: str
    """What the agent does: `slots` or `batch`."""
    slots: int
    """Tasks in all."""
    together: int
    """Of those on one machine."""
    seconds: float
    """For each task, at most."""
    spot: bool
    labels: Mapping[str, str]
    variables: Mapping[str, str]
    """More of the agent's environment."""
    retried: bool = False
    """Whether a task whose machine was taken away is run again."""


@dataclass(frozen=True, slots=True)
class State:
    """What the service says of a job or task."""

    name: str
    """`QUEUED`, `RUNNING`, … in the service's words; `GONE`: there is none."""
    events: tuple[Any, ...] = ()

    @property
    def over(self) -> bool:
        """Whether nothing will come of it any more."""
        return self.name == "GONE" or self.name in _OVER


def prefix(job_id: str) -> str:
    """Where a job's objects are in the bucket, without a slash at the end."""
    return f"{PREFIX}{job_id}"


class Jobs:
    """The Batch service. Safe to use from any thread."""

    def __init__(self, clients: Clients) -> None:
        self._client = clients.batch
        self.settings = clients.settings

    def name(self, job_id: str) -> str:
        """A job's full name."""
        return f"{self.settings.parent}/jobs/{job_id}"

    def submit(self, order: Order, request_id: str, settings: Settings | None = None) -> None:
        """Have a job of this id, now or from an earlier call: asking again is free.

        Args:
            settings: what it was first asked for with; None for the backend's.

        Raises:
            BackendError: the service refuses, or does not answer.
        """
        from google.cloud import batch_v1

        request = batch_v1.CreateJobRequest(
            parent=self.settings.parent,
            job_id=order.job_id,
            job=definition(settings or self.settings, order),
            request_id=request_id,
        )

        def ask() -> None:
            with complaints(f"submitting job {order.job_id}"):
                self._client.create_job(request=request, timeout=60)

        try:
            patiently(ask)
        except Refused as refused:
            if refused.status != 409:  # then it was submitted, and the answer was lost
                raise

    def look(self, job_id: str) -> State:
        """What became of a job."""
        try:
            with complaints(f"looking at job {job_id}"):
                found = self._client.get_job(name=self.name(job_id), timeout=60)
        except Refused as refused:
            if refused.status == 404:
                return State("GONE")
            raise
        status = found.status
        return State(status.state.name, tuple(status.status_events))

    def look_at_task(self, job_id: str, index: int) -> State:
        """What became of one task; `over` once it does nothing more."""
        name = f"{self.name(job_id)}/taskGroups/group0/tasks/{index}"
        try:
            with complaints(f"looking at a task of job {job_id}"):
                found = self._client.get_task(name=name, timeout=60)
        except Refused as refused:
            if refused.status != 404:
                raise
            # It may be that the service has not come to making the tasks of a job yet.
            return State("GONE") if self.look(job_id).over else State("PENDING")
        state = found.status.state.name
        alive = state in _ALIVE_TASK
        return State(state if alive else "FAILED", tuple(found.status.status_events))

    def seconds_run(self, job_id: str) -> float:
        """For how long a job's tasks have been running, all together, by the service's own clock."""
        request = {"parent": f"{self.name(job_id)}/taskGroups/group0", "page_size": 1000}

        def ask() -> float:
            with complaints(f"looking at the tasks of job {job_id}"):
                tasks = self._client.list_tasks(request=request, timeout=60)
                return sum(_seconds_run(task.status.status_events) for task in tasks)

        return patiently(ask)

    def ours(self) -> list[Any]:
        """Every job of this product in the region, as the vendor's values."""
        from google.cloud import batch_v1

        request = batch_v1.ListJobsRequest(parent=self.settings.parent, filter='labels.product="cooperbench"')
        with complaints("listing jobs"):
            return list(self._client.list_jobs(request=request, timeout=60))

    def delete(self, job_id: str) -> Any:
        """Have a job ended and removed; one that is gone is fine. Returns what `await_end` waits for.

        Raises:
            BackendError: the service refuses, or does not answer.
        """

        def ask() -> Any:
            with complaints(f"deleting job {job_id}"):
                return self._client.delete_job(name=self.name(job_id), timeout=60)

        try:
            return patiently(ask)
        except Refused as refused:
            # 400 and 409: it is being deleted already.
            if refused.status == 404 or (refused.status in (400, 409) and self._is_going(job_id)):
                return None
            raise

    def await_end(self, ending: Iterable[Any]) -> None:
        """Give jobs that are being deleted some time to be gone; the service goes on without us."""
        until = time.monotonic() + _FAREWELL
        for operation in ending:
            if operation is not None:
                with contextlib.suppress(
                    Exception
                ):  # it is the service's to finish, and its words on that vary
                    operation.result(timeout=max(0.1, until - time.monotonic()))

    def _is_going(self, job_id: str) -> bool:
        return self.look(job_id).name in ("GONE", "DELETION_IN_PROGRESS")


def _seconds_run(events: Iterable[Any]) -> float:
    total, since = 0.0, None
    for event in events:
        running = event.task_state.name == "RUNNING"
        if running and since is None:
            since = event.event_time
        elif not running and since is not None:
            total += (event.event_time - since).total_seconds()
            since = None
    return total + ((datetime.now(UTC) - since).total_seconds() if since is not None else 0.0)


def limits(settings: Settings, together: int) -> str:
    """What a container may use, as flags of ``docker run``."""
    milli, memory = machine(settings.machine_type).share(together, settings.memory_mib)
    flags = [f"--pids-limit={settings.processes}", f"--shm-size={_SHARED_MEMORY}m"]
    if milli:
        flags.append(f"--cpus={milli / 1000:g}")
    if memory:
        flags += [f"--memory={memory}m", f"--memory-swap={memory}m"]
    return " ".join(flags)


def definition(settings: Settings, order: Order) -> Any:
    """The vendor's `Job`."""
    from google.cloud import batch_v1 as vendor

    milli, memory = machine(settings.machine_type).share(order.together, settings.memory_mib)
    spec = vendor.TaskSpec(
        runnables=[vendor.Runnable(script=vendor.Runnable.Script(text=program()))],
        environment=vendor.Environment(variables=_variables(settings, order)),
        max_run_duration=f"{int(min(order.seconds, _LONGEST))}s",
        max_retry_count=10 if order.retried else 0,
    )
    if milli:
        spec.compute_resource = vendor.ComputeResource(cpu_milli=milli, memory_mib=max(memory, 1))
    if order.retried:
        spec.lifecycle_policies = _retries(vendor, RETRIED)
    group = vendor.TaskGroup(
        task_spec=spec,
        task_count=order.slots,
        parallelism=order.slots,
        task_count_per_node=order.together,
    )
    return vendor.Job(
        task_groups=[group],
        labels={"product": "cooperbench", **order.labels},
        logs_policy=vendor.LogsPolicy(destination=vendor.LogsPolicy.Destination.CLOUD_LOGGING),
        allocation_policy=_allocation(vendor, settings, order.spot),
    )


def _retries(vendor: Any, codes: Iterable[int]) -> list[Any]:
    policy = vendor.LifecyclePolicy
    condition = policy.ActionCondition(exit_codes=list(codes))
    return [policy(action=policy.Action.RETRY_TASK, action_condition=condition)]


def _variables(settings: Settings, order: Order) -> dict[str, str]:
    chosen = {
        "COOPERBENCH_ROLE": order.role,
        "COOPERBENCH_BUCKET": settings.bucket,
        "COOPERBENCH_PREFIX": prefix(order.job_id),
        "COOPERBENCH_LIMITS": limits(settings, order.together),
        **order.variables,
    }
    if settings.storage_endpoint:
        chosen["COOPERBENCH_STORAGE"] = settings.storage_endpoint
    if settings.metadata_endpoint:
        chosen["COOPERBENCH_METADATA"] = settings.metadata_endpoint
    return chosen


def _allocation(vendor: Any, settings: Settings, spot: bool) -> Any:
    policy = vendor.AllocationPolicy
    instance = policy.InstancePolicy(
        machine_type=settings.machine_type,
        boot_disk=policy.Disk(image=settings.boot_image, size_gb=settings.boot_disk_gib, type_="pd-balanced"),
        provisioning_model=policy.ProvisioningModel.SPOT if spot else policy.ProvisioningModel.STANDARD,
    )
    allocation = policy(
        location=policy.LocationPolicy(allowed_locations=[f"regions/{settings.region}"]),
        instances=[policy.InstancePolicyOrTemplate(policy=instance)],
        labels={"product": "cooperbench"},
    )
    if settings.service_account:
        allocation.service_account = vendor.ServiceAccount(email=settings.service_account)
    if settings.vm_network or settings.subnetwork or not settings.external_address:
        face = policy.NetworkInterface(
            network=settings.vm_network,
            subnetwork=settings.subnetwork,
            no_external_ip_address=not settings.external_address,
        )
        allocation.network = policy.NetworkPolicy(network_interfaces=[face])
    return allocation
