"""Warm places for sandboxes. A job is one machine with some slots; a sandbox is a lease on one.

When it is over the slot serves the next, without another boot, with the image at hand. Machines nobody needs give
themselves back.
"""

from __future__ import annotations

import contextlib
import logging
import secrets
import threading
import time
import uuid
from dataclasses import dataclass, field
from typing import Any

from cooperbench.errors import BackendError, SandboxStartError
from cooperbench.eval.backends.gcp import owner
from cooperbench.eval.backends.gcp.config import Settings
from cooperbench.eval.backends.gcp.jobs import Jobs, Order, State, prefix
from cooperbench.eval.backends.gcp.machines import machine
from cooperbench.eval.backends.gcp.store import Store

log = logging.getLogger(__name__)

_SHIFT = 12 * 3600
"""Seconds a machine of the pool serves, at most."""

_MARGIN = 300
"""Seconds a machine must have left beyond a sandbox's lifetime."""


@dataclass(eq=False, slots=True)
class _Machine:
    """A job of ours."""

    job_id: str
    until: float
    slots: int
    free: list[int]
    served: dict[int, int] = field(default_factory=dict)
    """Slot → leases given so far."""
    asked: threading.Event = field(default_factory=threading.Event)
    """The service has been asked for it, with whatever result."""


@dataclass(frozen=True, slots=True)
class Slot:
    """A lease: the number-th of a slot."""

    machine: _Machine
    index: int
    number: int

    @property
    def job_id(self) -> str:
        """The job that the slot is a task of."""
        return self.machine.job_id

    @property
    def lease(self) -> str:
        """The object that asks for the sandbox."""
        return f"{prefix(self.job_id)}/lease/{self.index}/{self.number}"

    @property
    def box(self) -> str:
        """What the names of the sandbox's objects begin with."""
        return f"{prefix(self.job_id)}/box/{self.index}-{self.number}"


class Slots:
    """All machines of one backend. Safe to use from any thread."""

    def __init__(self, store: Store, jobs: Jobs, settings: Settings) -> None:
        self._store = store
        self._jobs = jobs
        self._settings = settings
        self._changed = threading.Condition()
        self._machines: list[_Machine] = []
        self._ending: dict[str, Any] = {}
        """Jobs that are being deleted, and what to wait for; their objects are still there."""

    def take(self, seconds: float, until: float) -> Slot:
        """A slot that will be there for so long, on a machine that is there or is asked for now.

        Args:
            until: when (`time.monotonic`) nobody waits for a free one any more.

        Raises:
            SandboxStartError: every machine there may be is in use. BackendError: the service gives none.
        """
        while True:
            slot, made = self._reserve(seconds, until)
            if made is not None:
                self._submit(made, seconds)
                return slot
            # Another thread asks for this machine, and may be refused.
            slot.machine.asked.wait()
            with self._changed:
                if slot.machine in self._machines:
                    return slot

    def _reserve(self, seconds: float, until: float) -> tuple[Slot, _Machine | None]:
        """A slot, and its machine if that is still to be asked for."""
        made: _Machine | None = None
        with self._changed:
            while (slot := self._free_slot(seconds)) is None:
                if len(self._machines) < self._settings.machines:
                    made = self._planned(seconds)
                    self._machines.append(made)
                elif not self._changed.wait(max(0.0, until - time.monotonic())):
                    raise SandboxStartError(
                        f"all {self._settings.machines} machines are in use; raise `machines` in [backends.gcp], "
                        "or run fewer trials at once"
                    )
        return slot, made

    def _free_slot(self, seconds: float) -> Slot | None:
        needed = time.monotonic() + seconds + (_MARGIN if self._settings.pool else 0)
        for each in self._machines:
            if each.free and each.until >= needed:
                index = each.free.pop()
                each.served[index] = each.served.get(index, 0) + 1
                return Slot(each, index, each.served[index])
        return None

    def _planned(self, seconds: float) -> _Machine:
        count = machine(self._settings.machine_type).slots(self._settings.slots) if self._settings.pool else 1
        until = time.monotonic() + self._life(seconds)
        return _Machine(f"cb-{secrets.token_hex(8)}", until, count, list(range(count)))

    def _life(self, seconds: float) -> float:
        return max(_SHIFT, seconds + 2 * _MARGIN) if self._settings.pool else seconds + _MARGIN

    def _submit(self, made: _Machine, seconds: float) -> None:
        life = self._life(seconds)
        patience = self._settings.boot_patience
        order = Order(
            made.job_id,
            "slots",
            made.slots,
            made.slots,
            life,
            self._settings.spot,
            owner.labels("sandboxes", life + patience),
            {
                "COOPERBENCH_REUSE": "yes" if self._settings.pool else "no",
                "COOPERBENCH_IDLE": str(self._settings.idle),
            },
        )
        try:
            self._jobs.submit(order, str(uuid.uuid4()))
        except BaseException:
            self._forget(made)
            raise
        finally:
            made.asked.set()

    def give_back(self, slot: Slot) -> None:
        """Its sandbox has been told to stop: the slot is for the next one."""
        if not self._settings.pool:
            self.lose(slot)
            return
        with self._changed:
            if slot.machine in self._machines:
                slot.machine.free.append(slot.index)
                self._changed.notify_all()

    def lose(self, slot: Slot) -> None:
        """The slot is gone; a machine without any is given back."""
        with self._changed:
            slot.machine.served.pop(slot.index, None)
            last = not slot.machine.served.keys() - set(slot.machine.free)
        with contextlib.suppress(BackendError):  # it ends by itself when it idles
            if last or self.look(slot).name == "GONE":
                self._forget(slot.machine)
                operation = self._jobs.delete(slot.job_id)
                with self._changed:
                    self._ending[slot.job_id] = operation

    def _forget(self, made: _Machine) -> None:
        with self._changed:
            made.free.clear()
            if made in self._machines:
                self._machines.remove(made)
            self._changed.notify_all()

    def look(self, slot: Slot) -> State:
        """What the service says of a slot's task."""
        return self._jobs.look_at_task(slot.job_id, slot.index)

    def look_at_machine(self, slot: Slot) -> State:
        """What the service says of a slot's job."""
        return self._jobs.look(slot.job_id)

    def close(self) -> None:
        """End every machine and remove what went through the bucket."""
        with self._changed:
            machines, self._machines = self._machines, []
            ending, self._ending = self._ending, {}
        for each in machines:
            try:
                ending[each.job_id] = self._jobs.delete(each.job_id)
            except BackendError as problem:
                log.warning(
                    "a machine was not ended; `cooperbench clean --backend gcp` tries again: %s", problem
                )
        self._jobs.await_end(ending.values())
        for job_id in ending:
            try:
                self._store.remove(f"{prefix(job_id)}/")
            except BackendError as problem:
                log.warning("objects were left in the bucket: %s", problem)
