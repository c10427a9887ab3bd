"""What a user may set on the gcp backend, from arguments, the settings' table and the environment, checked once."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from cooperbench.errors import UsageError
from cooperbench.eval.backends.table import Size, not_negative, one_of, positive, read

NETWORKS = ("none", "open")

ENVIRONMENT: Mapping[str, str] = {
    "project_id": "GOOGLE_CLOUD_PROJECT",
    "region": "GCP_REGION",
    "machine_type": "GCP_MACHINE_TYPE",
    "bucket_name": "GCP_BUCKET",
    "batch_endpoint": "COOPERBENCH_GCP_BATCH_ENDPOINT",
    "storage_endpoint": "COOPERBENCH_GCP_STORAGE_ENDPOINT",
    "metadata_endpoint": "COOPERBENCH_GCP_METADATA_ENDPOINT",
    "api_endpoint": "COOPERBENCH_GCP_API_ENDPOINT",
}
"""Setting → the variable that gives it where no argument does."""

_PROJECT = re.compile(r"(?:[a-z][a-z0-9.-]*:)?[a-z][a-z0-9-]{4,28}[a-z0-9]")
_BUCKET = re.compile(r"[a-z0-9][a-z0-9._-]{1,220}[a-z0-9]")
_NAME = re.compile(r"[a-z][a-z0-9-]{0,62}")


@dataclass(frozen=True, slots=True)
class Settings:
    """Every setting with its default: the table ``[backends.gcp]``."""

    project_id: str = ""
    region: str = "us-central1"
    machine_type: str = "n1-standard-4"
    bucket_name: str = ""
    """Where work and answers travel through; empty: ``cooperbench-PROJECT``, made when it is missing."""
    service_account: str = ""
    """E-mail of the account the machines run as; empty: the project's default one."""
    subnetwork: str = ""
    """``regions/R/subnetworks/S``, with `vm_network`; both empty: the project's default network."""
    vm_network: str = ""
    external_address: bool = True
    """Whether machines get an address of their own; without, the subnetwork needs private access and NAT."""
    network: str = "none"
    """What a sandbox gets when its dataset does not say: `none` or `open`."""
    mirror: str = ""
    """Registry, with a prefix perhaps, that images are pulled from in place of the one in their name."""
    boot_image: str = "batch-cos"
    boot_disk_gib: int = 100
    slots: int = 0
    """Sandboxes side by side on one machine; 0: one for every two of its processors."""
    machines: int = 50
    """Machines for interactive sandboxes, at most."""
    pool: bool = True
    """Whether a machine serves one sandbox after another; without, each sandbox has a job and a machine of its own."""
    idle: int = 300
    """Seconds a machine waits for its next sandbox before it is given back."""
    spot: bool = False
    """Spot machines for interactive sandboxes: cheaper, and may be taken away under an agent."""
    batch_spot: bool = True
    """Spot machines for batch evaluation, where what is taken away is simply judged again."""
    memory_mib: int = 0
    """Memory of a sandbox; 0: its share of the machine."""
    processes: int = 1024
    output: Size = 16 << 20
    """Bytes kept of each stream of a command: its tail."""
    boot_patience: int = 1800
    """Seconds to wait for a machine, for one sandbox, however many machines are tried."""
    batch_endpoint: str = ""
    """``host:port`` of the Batch service; empty: Google's."""
    storage_endpoint: str = ""
    """URL of Cloud Storage, likewise."""
    metadata_endpoint: str = ""
    """URL of the metadata server as the machines see it, likewise."""
    api_endpoint: str = ""
    """URL of the services `cooperbench config gcp` asks (enabled APIs, quotas), likewise."""

    def __post_init__(self) -> None:
        _matches("project_id", self.project_id, _PROJECT, "a project's id, as in my-project-1")
        _matches("region", self.region, _NAME, "a region, as in us-central1")
        _matches("machine_type", self.machine_type, _NAME, "a machine type, as in n1-standard-4")
        _matches("bucket_name", self.bucket_name, _BUCKET, "a bucket's name without gs://")
        one_of(self, "gcp", "network", NETWORKS)
        positive(self, "gcp", "machines", "processes", "output", "boot_patience", "boot_disk_gib")
        not_negative(self, "gcp", "slots", "idle", "memory_mib")

    @property
    def bucket(self) -> str:
        """The bucket's name, chosen or the default one."""
        return self.bucket_name or f"cooperbench-{self.project_id}".replace(":", "-")

    @property
    def parent(self) -> str:
        """What the Batch service calls the place jobs are in."""
        return f"projects/{self.project_id}/locations/{self.region}"


def settings(given: Mapping[str, Any], environ: Mapping[str, str] | None = None) -> Settings:
    """Settings out of arguments or a table a person wrote, and the environment for what they leave open.

    Raises:
        UsageError: a key nobody knows, or a value that is none.
    """
    environ = os.environ if environ is None else environ
    said = {
        name: text for name, variable in ENVIRONMENT.items() if (text := environ.get(variable, "").strip())
    }
    return read(Settings, said | {name: value for name, value in given.items() if value is not None}, "gcp")


def beneath(table: Mapping[str, Any], environ: Mapping[str, str] | None = None) -> dict[str, Any]:
    """A settings file's table without what the environment says otherwise, which is stronger."""
    environ = os.environ if environ is None else environ
    said = {name for name, variable in ENVIRONMENT.items() if environ.get(variable, "").strip()}
    return {name: value for name, value in table.items() if name not in said}


def with_project(given: Settings, project: str) -> Settings:
    """The same settings, of the project that the credentials name."""
    return replace(given, project_id=project)


def _matches(name: str, value: str, shape: re.Pattern[str], what: str) -> None:
    if value and shape.fullmatch(value) is None:
        raise UsageError(f"gcp backend: {name} is {what}, not {value!r}")
