"""One loopback cloud: every server, one project, one bucket's worth of VMs; and the environment that leads to it."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from cooperbench.eval.backends.base import Network
from cooperbench.eval.backends.local import LocalBackend
from tests.loopback.gcp import identity, keys, storage_json, storage_xml, transports, uploads
from tests.loopback.gcp.accounts import Accounts
from tests.loopback.gcp.jobs import PREEMPTED, VM_LOST, JobRecord
from tests.loopback.gcp.objects import Store
from tests.loopback.gcp.scheduler import Run, Zone
from tests.loopback.gcp.service import BatchService
from tests.loopback.gcp.traffic import Fault, Traffic
from tests.loopback.gcp.vm.containers import Shelf
from tests.loopback.gcp.vm.machine import toolbox
from tests.loopback.gcp.web import Server

PROJECT, REGION, BUCKET = "loopback-project", "us-central1", "loopback-bucket"
_OUTPUT = 256 << 20
"""Bytes of a process's output that reach the `docker` command: more than any backend of ours keeps."""


class Cloud:
    """Everything that the clients talk to; the attributes are for tests to look at and to change."""

    def __init__(
        self, *, vms: int = 2, bridge: Network = "open", bucket: bool = True, own_docker: bool = False
    ) -> None:
        # Not under pytest's own directories: sockets' paths must be short.
        self._root = Path(tempfile.mkdtemp(prefix="cbgcp-"))
        self.traffic = Traffic()
        self.accounts = Accounts(PROJECT)
        self.store = Store()
        self.project = identity.Project(PROJECT, REGION)
        if bucket:
            self.store.create_bucket(BUCKET, {"location": REGION.upper()})
        self.local = LocalBackend(output=_OUTPUT)
        tools = toolbox(self._root / "tools", own_docker=own_docker)
        self.zone = Zone(self._root, tools, Shelf(self.local, bridge), vms, own_docker)
        self.batch = BatchService(f"projects/{PROJECT}/locations/{REGION}", self._launch)
        self._runs: dict[str, Run] = {}
        self._serve()

    def _serve(self) -> None:
        gate = transports.Gate(self.batch, self.traffic, self.accounts)
        self._grpc = transports.GrpcServer(gate, self.traffic, self.accounts)
        self._rest, self._storage, self._metadata, self._control = (
            Server(self.traffic, self.accounts, BUCKET) for _ in range(4)
        )
        self._rest.routes = [transports.RestApi(gate, self.accounts).route]
        objects = storage_json.JsonApi(self.store, lambda permission: permission not in self.accounts.denied)
        several = storage_xml.Batches(objects.route)
        tokens = identity.Tokens(self.accounts)
        self._storage.routes = [
            tokens.route,
            objects.route,
            uploads.Uploads(self.store).route,
            several.route,
            storage_xml.XmlApi(self.store).route,
        ]
        self._metadata.routes = [identity.Metadata(self.accounts, PROJECT, f"{REGION}-a").route]
        self._control.routes = [identity.Control(self.project, self.accounts).route]
        self._key = keys.key_file(
            self._root / "key.json",
            project=PROJECT,
            account=self.accounts.harness,
            token_url=f"{self._storage.url}/token",
        )

    @property
    def rest_url(self) -> str:
        """Batch's REST surface."""
        return self._rest.url

    @property
    def environment(self) -> dict[str, str]:
        """What a harness is told to come here."""
        return {
            "GOOGLE_APPLICATION_CREDENTIALS": str(self._key),
            "GRPC_DEFAULT_SSL_ROOTS_FILE_PATH": str(keys.certificate().path),
            "GOOGLE_CLOUD_PROJECT": PROJECT,
            "GCP_REGION": REGION,
            "GCP_BUCKET": BUCKET,
            "COOPERBENCH_GCP_BATCH_ENDPOINT": f"localhost:{self._grpc.port}",
            "COOPERBENCH_GCP_STORAGE_ENDPOINT": self._storage.url,
            "COOPERBENCH_GCP_METADATA_ENDPOINT": self._metadata.url,
            "COOPERBENCH_GCP_API_ENDPOINT": self._control.url,
        }

    @contextlib.contextmanager
    def entered(self) -> Iterator[Cloud]:
        """This process's environment leads here meanwhile."""
        before = {name: os.environ.get(name) for name in self.environment}
        os.environ.update(self.environment)
        try:
            yield self
        finally:
            for name, value in before.items():
                if value is None:
                    os.environ.pop(name, None)
                else:
                    os.environ[name] = value

    def close(self) -> None:
        """Everything stops, nothing is left."""
        for record in self.batch.records():
            record.stop.set()
        for record in self.batch.records():
            record.ended.wait(30)
        self._grpc.close()
        for server in (self._rest, self._storage, self._metadata, self._control):
            server.close()
        self.local.close()
        shutil.rmtree(self._root, ignore_errors=True)

    # ------------------------------------------------------------------------------------------ what goes wrong

    def fault(self, operation: str, **happens: object) -> Fault:
        """Have something happen to calls to come: see `traffic.Fault`."""
        return self.traffic.add(Fault(operation, **happens))  # type: ignore[arg-type]

    def preempt(self, job: str, place: int = 0) -> None:
        """The vendor takes a Spot VM of a job back."""
        self._runs[job].places[place].die(PREEMPTED)

    def lose_vm(self, job: str, place: int = 0) -> None:
        """A VM of a job is not heard of any more."""
        self._runs[job].places[place].die(VM_LOST)

    def delete_job(self, job: str) -> None:
        """Somebody deletes a job under the harness."""
        self.batch.vanish(job)

    def _launch(self, record: JobRecord) -> None:
        run = self._runs[record.name] = Run(record, self.zone)
        run.start()
