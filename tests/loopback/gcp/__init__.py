"""A Google Cloud of its own on loopback: Batch, Cloud Storage, OAuth, a metadata server, and VMs that really run tasks.

Everything is driven by the vendor's unmodified clients; only endpoints and credentials differ, and they come from the
environment. Nothing here imports the backend that is tested with it.

    with loopback() as cloud:                # servers up, os.environ leads to them, everything gone afterwards
        backend = backends.get_backend("gcp")
        ...
        assert cloud.traffic.count("batch.*", account=cloud.accounts.harness) < 40

For a command of any kind: ``python -m tests.loopback.gcp COMMAND…``.

| to see or change | where |
|---|---|
| variables for a harness in a process of its own | `cloud.environment` |
| calls made, by whom, how often | `cloud.traffic.count(operation, subject=, account=)` |
| requests that no server knew | `cloud.traffic.unknown`: to be empty |
| an error, a lost answer, a call held up | `cloud.fault("batch.CreateJob", status=503)`, `lost=True`, `gate=Event()` |
| tokens worth nothing any more, permissions not granted | `cloud.accounts.expire()`, `cloud.accounts.denied.add(…)` |
| a Spot VM taken back (50001), a VM not heard of (50002) | `cloud.preempt(job name)`, `cloud.lose_vm(job name)` |
| a job deleted by somebody else | `cloud.delete_job(job name)` |
| no quota: jobs stay QUEUED and say why | `cloud.zone.no_quota = "…"`, `cloud.zone.give_quota()` |
| how many VMs a job gets at most | `cloud.zone.vms` |
| images the registry has | those of the embedded backend, and `cloud.zone.shelf.also(name, image)` |
| what VMs pulled, what their containers could reach | `vm.engine.pulls`, `vm.engine.leaks` of each `cloud.zone.made` |
| objects, writes to one name, lifecycle rules | `cloud.store.names(bucket, prefix)`, `.writes`, `.age(bucket, days)` |
| enabled services and quotas of the project | `cloud.project` |

With ``loopback(own_docker=True)`` the VMs' containers are on this machine's own docker engine, not on the stand-in.

Operations are called ``storage.objects.create`` (also ``.get``, ``.list``, ``.delete``, ``.update``; resumable uploads:
``.begin`` and ``.piece``), ``storage.buckets.…``, ``storage.batch``, ``batch.CreateJob`` and so on, ``oauth.token``,
``metadata.get``. Limits and where they are documented: `limits.py`, `objects.py`.

grpc reads GRPC_DEFAULT_SSL_ROOTS_FILE_PATH once, at its first secure channel: a process has one certificate
(`keys.certificate`), whatever number of clouds it makes.

Needs Linux with user or root namespaces (as the embedded backend), curl and util-linux. What cannot be seen here: boot
and pull times, Container-Optimized OS itself, IAM's real decisions, real quotas and prices.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tests.loopback.gcp.cloud import Cloud


@contextlib.contextmanager
def loopback(**settings: Any) -> Iterator[Cloud]:
    """A cloud, and this process's environment leading to it; settings as for `Cloud`."""
    from tests.loopback.gcp.cloud import Cloud

    cloud = Cloud(**settings)
    try:
        with cloud.entered():
            yield cloud
    finally:
        cloud.close()
