"""The backend's door: settings in, sandboxes out; everything else is behind it."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

from cooperbench.errors import MissingExtra, SandboxStartError
from cooperbench.eval.backends.base import DEFAULT_WORKDIR, Listener, Price, SandboxSpec
from cooperbench.eval.backends.batch import Ledger, Outcome, Wishes, Work
from cooperbench.eval.backends.gcp import probe, sweep
from cooperbench.eval.backends.gcp.batch.running import Batches
from cooperbench.eval.backends.gcp.clients import Clients, connect
from cooperbench.eval.backends.gcp.config import beneath, settings
from cooperbench.eval.backends.gcp.jobs import Jobs
from cooperbench.eval.backends.gcp.machines import PRICES_OF, machine
from cooperbench.eval.backends.gcp.sandbox import GCPSandbox, SlotGone, TooLate
from cooperbench.eval.backends.gcp.slots import Slots
from cooperbench.eval.backends.gcp.store import Store

_TRIES = 3
"""Slots to try for one sandbox: a machine may give itself back just when it is wanted."""


@dataclass(frozen=True, slots=True)
class _Open:
    """What there is once somebody needs it."""

    clients: Clients
    store: Store
    jobs: Jobs
    slots: Slots


class GCPBatchBackend:
    """Sandboxes as containers on machines of Google Cloud's Batch service.

    Nothing is looked for before the first sandbox is asked for. Safe to use from any thread.

    Args:
        project_id, region, machine_type, bucket_name: None for ``GOOGLE_CLOUD_PROJECT``, ``GCP_REGION``
            (``us-central1``), ``GCP_MACHINE_TYPE`` (``n1-standard-4``), ``GCP_BUCKET`` (``cooperbench-PROJECT``).
        more: the other settings that `config.Settings` lists, by name.
    """

    name = "gcp"
    """As a verdict names it."""

    def __init__(
        self,
        project_id: str | None = None,
        region: str | None = None,
        machine_type: str | None = None,
        bucket_name: str | None = None,
        **more: Any,
    ) -> None:
        try:
            found = all(find_spec(f"google.cloud.{name}") for name in ("batch_v1", "storage"))
        except ModuleNotFoundError:
            found = False
        if not found:
            raise MissingExtra("backend 'gcp'", "gcp")
        named = {
            "project_id": project_id,
            "region": region,
            "machine_type": machine_type,
            "bucket_name": bucket_name,
        }
        self._settings = settings({**named, **more})
        self._lock = threading.Lock()
        self._opened: _Open | None = None
        self._listener: Listener = lambda *_: None

    @classmethod
    def configured(cls, **table: Any) -> GCPBatchBackend:
        """Made with a settings file's table; the environment is stronger than that."""
        return cls(**beneath(table))

    def create_sandbox(self, image: str, timeout: int = 600, workdir: str = DEFAULT_WORKDIR) -> GCPSandbox:
        """See `base.EvalBackend`."""
        return self.create(SandboxSpec(image, timeout, workdir))

    def create(self, spec: SandboxSpec) -> GCPSandbox:
        """See `base.SpecBackend`."""
        if spec.network == "host":
            raise SandboxStartError(
                "network 'host' is not given on gcp, where it would reach the machine's credentials; "
                "use 'open' or 'none'"
            )
        opened = self._open()
        chosen, asked = opened.clients.settings, time.monotonic()
        for attempt in range(_TRIES):
            try:
                return GCPSandbox(opened.store, opened.slots, chosen, spec, self._listener, asked)
            except SlotGone as gone:
                if isinstance(gone, TooLate) or attempt + 1 == _TRIES:
                    raise
        raise AssertionError("not reached")

    def tell_by(self, listener: Listener) -> None:
        """See `base.Telling`."""
        self._listener = listener

    def price(self) -> Price | None:
        """See `base.PricedBackend`: a machine's list price, shared by its sandboxes."""
        chosen, kind = self._settings, machine(self._settings.machine_type)
        hourly = kind.price(spot=chosen.spot, disk_gib=chosen.boot_disk_gib)
        if hourly is None:
            return None
        slots = kind.slots(chosen.slots) if chosen.pool else 1
        told = f"Google's list prices of {PRICES_OF} for {kind.name}{' (Spot)' if chosen.spot else ''}"
        return Price(hourly / slots, f"{told}, {slots} to a machine")

    def room(self) -> tuple[int, str]:
        """See `base.Roomy`."""
        chosen = self._settings
        slots = machine(chosen.machine_type).slots(chosen.slots) if chosen.pool else 1
        return chosen.machines * slots, f"{chosen.machines} machines with {slots} sandboxes each"

    def run_jobs(
        self, works: Sequence[Work], ledger: Ledger, wishes: Wishes
    ) -> Iterator[tuple[str, Outcome]]:
        """See `batch.BatchBackend`."""
        opened = self._open()
        return Batches(opened.store, opened.jobs, ledger, wishes).outcomes(works)

    def sweep(self) -> list[str]:
        """See `base.Sweeper`."""
        opened = self._open()
        return sweep.sweep(opened.jobs, opened.store)

    def diagnose(self) -> list[tuple[bool, str]]:
        """See `base.Diagnosable`."""
        return probe.diagnose(self._settings)

    def make_bucket(self) -> str:
        """See that the bucket is there, with its rule; returns its name.

        Raises:
            BackendError: it is not there and cannot be made.
        """
        return self._open().store.bucket

    def close(self) -> None:
        """See `base.Closable`."""
        with self._lock:
            opened, self._opened = self._opened, None
        if opened is not None and opened.clients.pid == os.getpid():
            opened.slots.close()
            opened.clients.close()

    def _open(self) -> _Open:
        with self._lock:
            if self._opened is None or self._opened.clients.pid != os.getpid():
                clients = connect(self._settings)
                store = Store(clients)
                store.make_ready()
                jobs = Jobs(clients)
                self._opened = _Open(clients, store, jobs, Slots(store, jobs, clients.settings))
            return self._opened
