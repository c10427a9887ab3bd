"""Runs jobs: VMs for their slots, tasks packed on them, retries, deadlines, preemption.

Facts: BATCH_* variables https://cloud.google.com/batch/docs/create-run-job#environment-variables; a runnable's
environment wins over a task's, that over the group's; a lifecycle policy narrows which exit codes are retried
(https://cloud.google.com/batch/docs/automate-task-retries); what a preempted VM ran ends with 50001, what a VM ran
that is not heard of any more with 50002. Assumed: a task that is tried again waits for no turn.
"""

from __future__ import annotations

import collections
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from google.cloud import batch_v1

from tests.loopback.gcp import limits
from tests.loopback.gcp.jobs import TOO_LONG, JobRecord, State, TaskRecord, TaskState
from tests.loopback.gcp.vm.containers import Shelf
from tests.loopback.gcp.vm.machine import Machine


@dataclass(slots=True)
class Zone:
    """What the cloud has to give; tests change it."""

    root: Path
    tools: Path
    shelf: Shelf
    vms: int = 2
    """How many VMs one job gets at most: there is not always capacity for all that it could use."""
    own_docker: bool = False
    """Whether VMs' containers are on this machine's own engine."""
    no_quota: str = ""
    """While this is set, jobs stay QUEUED and say it in an event."""
    made: list[Machine] = field(default_factory=list)
    """Every VM there has been."""
    changed: threading.Condition = field(default_factory=threading.Condition)

    def machine(self) -> Machine:
        """A new VM."""
        made = Machine(self.root, self.tools, None if self.own_docker else self.shelf)
        self.made.append(made)
        return made

    def give_quota(self) -> None:
        """Let jobs that wait begin."""
        with self.changed:
            self.no_quota = ""
            self.changed.notify_all()


@dataclass(slots=True)
class _Place:
    """Where a job has a VM: another one takes its place when it is gone."""

    zone: Zone
    _machine: Machine | None = None
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def machine(self) -> Machine:
        """The VM that is there now."""
        with self._lock:
            if self._machine is None or self._machine.lost is not None:
                self._machine = self.zone.machine()
            return self._machine

    def close(self) -> None:
        """No VM any more."""
        with self._lock:
            if self._machine is not None:
                self._machine.close()

    def die(self, code: int) -> None:
        """The VM that is there now is gone."""
        with self._lock:
            if self._machine is not None:
                self._machine.die(code)


class Run:
    """One job from QUEUED to its end."""

    def __init__(self, record: JobRecord, zone: Zone) -> None:
        self._record = record
        self._zone = zone
        group = record.group
        pack = max(1, group.task_count_per_node)
        most = min(group.parallelism, group.task_count)
        self.places = [_Place(zone) for _ in range(min(zone.vms, -(-most // pack)))]
        self._slots = [place for place in self.places for _ in range(pack)][:most]
        self._queue = collections.deque(record.tasks)

    def start(self) -> None:
        """In a thread of its own."""
        threading.Thread(target=self._run, name=self._record.name, daemon=True).start()

    def _run(self) -> None:
        record = self._record
        threading.Thread(target=self._watch, name=f"stop {record.name}", daemon=True).start()
        try:
            if self._may_begin():
                record.become(State.SCHEDULED)
                record.become(State.RUNNING)
                slots = [
                    threading.Thread(target=self._work, args=(place,), daemon=True) for place in self._slots
                ]
                for slot in slots:
                    slot.start()
                for slot in slots:
                    slot.join()
        finally:
            for place in self.places:
                place.close()
            failed = any(task.state is not TaskState.SUCCEEDED for task in record.tasks)
            record.become(State.FAILED if failed else State.SUCCEEDED)
            record.stop.set()
            record.ended.set()

    def _watch(self) -> None:
        """A job that is to stop takes its VMs along."""
        self._record.stop.wait()
        with self._zone.changed:
            self._zone.changed.notify_all()
        for place in self.places:
            place.die(0)

    def _may_begin(self) -> bool:
        zone, record = self._zone, self._record
        with zone.changed:
            if zone.no_quota:
                record.note("OPERATIONAL_INFO", zone.no_quota)
            while zone.no_quota and not record.stop.is_set():
                zone.changed.wait()
        return not record.stop.is_set()

    def _work(self, place: _Place) -> None:
        while not self._record.stop.is_set():
            try:
                task = self._queue.popleft()
            except IndexError:
                return
            self._task(task, place)

    def _task(self, task: TaskRecord, place: _Place) -> None:
        spec = self._record.group.task_spec
        while not self._record.stop.is_set():
            task.become(TaskState.ASSIGNED)
            task.become(TaskState.RUNNING)
            code = self._attempt(task, place.machine())
            if self._record.stop.is_set():
                break
            if code == 0:
                task.become(TaskState.SUCCEEDED)
                return
            if task.attempts >= spec.max_retry_count or not _retried(spec, code):
                task.become(TaskState.FAILED, f"due to Task failed with exit code {code}.", code)
                return
            task.attempts += 1
            task.become(TaskState.PENDING, f"due to exit code {code}, to be tried again.", code)
        task.become(TaskState.FAILED, "due to the job being stopped.", None)

    def _attempt(self, task: TaskRecord, machine: Machine) -> int:
        spec = self._record.group.task_spec
        limit = spec.max_run_duration.total_seconds() if spec.max_run_duration else 0
        until = time.monotonic() + (limit or limits.MAX_RUN_SECONDS)
        env = self._environment(task)
        code, background = 0, []
        for runnable in spec.runnables:
            if code and not runnable.always_run:
                continue
            argv = _container(runnable, env)
            own = {**env, **runnable.environment.variables}
            if runnable.background:
                assert argv, "loopback server: only containers are served as background runnables"
                background.append(machine.start(argv, own))
                continue
            end = (
                min(until, time.monotonic() + runnable.timeout.total_seconds()) if runnable.timeout else until
            )
            done = machine.run(argv, own, end) if argv else machine.script(runnable.script.text, own, end)
            if done and (done == TOO_LONG or not runnable.ignore_exit_status):
                code = code or done
        for process in filter(None, background):
            machine.stop(process)
        return code

    def _environment(self, task: TaskRecord) -> dict[str, str]:
        group, job = self._record.group, self._record.job
        own: Mapping[str, str] = (
            group.task_environments[task.index].variables if group.task_environments else {}
        )
        return {
            **group.task_spec.environment.variables,
            **own,
            "BATCH_TASK_INDEX": str(task.index),
            "BATCH_TASK_COUNT": str(group.task_count),
            "BATCH_TASK_RETRY_ATTEMPT": str(task.attempts),
            "BATCH_JOB_UID": job.uid,
        }


def _retried(spec: batch_v1.TaskSpec, code: int) -> bool:
    for policy in spec.lifecycle_policies:
        listed = code in policy.action_condition.exit_codes
        return listed if policy.action is batch_v1.LifecyclePolicy.Action.RETRY_TASK else not listed
    return True


def _container(runnable: batch_v1.Runnable, env: Mapping[str, str]) -> list[str]:
    """The command of a container runnable; empty for a script."""
    container = runnable.container
    if not container.image_uri:
        return []
    return list(_docker_run(container, {**env, **runnable.environment.variables}))


def _docker_run(container: batch_v1.Runnable.Container, env: Mapping[str, str]) -> Iterator[str]:
    yield from ("docker", "run", "--rm")
    for name, value in env.items():
        yield from ("-e", f"{name}={value}")
    if container.entrypoint:
        yield from ("--entrypoint", container.entrypoint)
    if container.block_external_network:
        yield from ("--network", "none")
    yield from container.options.split()
    yield from (container.image_uri, *container.commands)
