"""Whether the backend would work: credentials, services, roles, bucket, quotas; with commands that put it right.

Only what credentials can ask for is asked; the gcloud program is not needed. What nobody lets us see is said to be
unknown and does not count as broken.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from cooperbench.errors import CooperBenchError
from cooperbench.eval.backends.gcp.clients import Clients, connect
from cooperbench.eval.backends.gcp.config import Settings
from cooperbench.eval.backends.gcp.machines import machine
from cooperbench.eval.backends.gcp.store import Store
from cooperbench.eval.backends.gcp.trouble import complaints

SERVICES = ("batch.googleapis.com", "compute.googleapis.com", "storage.googleapis.com")
"""What must be enabled in the project."""

_EDITOR = "roles/batch.jobsEditor"
_JOBS = ("batch.jobs.create", "batch.jobs.get", "batch.jobs.list", "batch.jobs.delete")
"""What is needed of that role, on the project."""
_USER = "roles/iam.serviceAccountUser"
_ACT_AS = "iam.serviceAccounts.actAs"
"""What is needed of that role, on the machines' account: who has it on the project has it there too."""

_OBJECTS = ("storage.objects.create", "storage.objects.get", "storage.objects.list", "storage.objects.delete")
_SECONDS = 30

Finding = tuple[bool, str]


@dataclass(frozen=True, slots=True)
class _Asker:
    """Questions to the vendor's plain services, with the credentials of the clients."""

    session: Any
    endpoint: str

    def ask(self, host: str, path: str, body: Mapping[str, Any] | None = None) -> tuple[int, dict[str, Any]]:
        """Status and answer."""
        url = f"{self.endpoint.rstrip('/') or f'https://{host}.googleapis.com'}{path}"
        with complaints(f"asking {url}"):
            method = "GET" if body is None else "POST"
            answer = self.session.request(method, url, json=body, timeout=_SECONDS)
        try:
            found = answer.json()
        except ValueError:
            found = None
        return int(answer.status_code), found if isinstance(found, dict) else {}


def diagnose(settings: Settings) -> list[Finding]:
    """See `base.Diagnosable`."""
    try:
        clients = connect(settings)
    except CooperBenchError as problem:
        return [(False, str(problem))]
    try:
        return list(_findings(clients))
    finally:
        clients.close()


def _findings(clients: Clients) -> Iterator[Finding]:
    from google.auth.transport import requests

    vendor: Any = requests  # which has no types
    credentials = clients.storage._credentials
    try:
        with complaints("asking for a token"):
            credentials.refresh(vendor.Request())
    except CooperBenchError as problem:
        yield False, str(problem)
        return
    email = getattr(credentials, "service_account_email", None)
    yield True, f"credentials: {email or 'your own account'}"
    member = f"serviceAccount:{email}" if email else "user:YOU"
    chosen = clients.settings
    yield (
        True,
        f"project {chosen.project_id}, region {chosen.region}, {chosen.machine_type}, bucket {chosen.bucket}",
    )
    asker = _Asker(vendor.AuthorizedSession(credentials), chosen.api_endpoint)
    looks: tuple[Callable[[], Iterator[Finding]], ...] = (
        lambda: _services(asker, chosen),
        lambda: _editing(asker, chosen, member),
        lambda: _acting(asker, chosen, member),
        lambda: _jobs(clients),
        lambda: _bucket(clients, member),
        lambda: _quotas(asker, chosen),
    )
    for look in looks:
        try:
            yield from look()
        except CooperBenchError as problem:
            yield False, str(problem)
    asker.session.close()


def _services(asker: _Asker, chosen: Settings) -> Iterator[Finding]:
    for service in SERVICES:
        status, found = asker.ask("serviceusage", f"/v1/projects/{chosen.project_id}/services/{service}")
        if status != 200:
            yield True, f"{service}: whether it is enabled is not for these credentials to see ({status})"
        elif found.get("state") == "ENABLED":
            yield True, f"{service} is enabled"
        else:
            yield (
                False,
                f"{service} is not enabled; run: gcloud services enable {service} --project={chosen.project_id}",
            )


def _editing(asker: _Asker, chosen: Settings, member: str) -> Iterator[Finding]:
    path = f"/v1/projects/{chosen.project_id}:testIamPermissions"
    status, found = asker.ask("cloudresourcemanager", path, {"permissions": list(_JOBS)})
    held = set(found.get("permissions") or ())
    missing = [each for each in _JOBS if each not in held]
    if status != 200:
        yield True, f"{_EDITOR}: not for these credentials to see ({status})"
    elif not missing:
        yield True, f"{_EDITOR}: held"
    else:
        yield (
            False,
            f"{', '.join(missing)} missing; run: gcloud projects add-iam-policy-binding {chosen.project_id} "
            f"--member={member} --role={_EDITOR}",
        )


def _acting(asker: _Asker, chosen: Settings, member: str) -> Iterator[Finding]:
    """Whether jobs may run as the machines' account."""
    email = chosen.service_account
    if not email:
        status, found = asker.ask("cloudresourcemanager", f"/v1/projects/{chosen.project_id}")
        if status != 200 or not found.get("projectNumber"):
            yield (
                True,
                f"{_USER}: which account machines run as is not for these credentials to see ({status})",
            )
            return
        email = f"{found['projectNumber']}-compute@developer.gserviceaccount.com"
    path = f"/v1/projects/{chosen.project_id}/serviceAccounts/{email}:testIamPermissions"
    status, found = asker.ask("iam", path, {"permissions": [_ACT_AS]})
    if status == 404:
        yield (
            False,
            f"there is no account {email} for machines to run as; set `service_account` to one there is",
        )
    elif status != 200:
        yield True, f"{_USER} on {email}: not for these credentials to see ({status})"
    elif _ACT_AS in (found.get("permissions") or ()):
        yield True, f"{_USER} on {email}: held"
    else:
        yield (
            False,
            f"{_ACT_AS} missing; run: gcloud iam service-accounts add-iam-policy-binding {email} "
            f"--project={chosen.project_id} --member={member} --role={_USER}",
        )


def _jobs(clients: Clients) -> Iterator[Finding]:
    with complaints("listing jobs"):
        request = {"parent": clients.settings.parent, "page_size": 1}
        next(iter(clients.batch.list_jobs(request=request, timeout=_SECONDS)), None)
    yield True, f"the Batch service answers in {clients.settings.region}"


def _bucket(clients: Clients, member: str) -> Iterator[Finding]:
    store, chosen = Store(clients), clients.settings
    found = store.look()
    if found is None:
        yield (
            False,
            f"there is no bucket {store.bucket}; run: cooperbench config gcp --create-bucket, or: gcloud storage "
            f"buckets create gs://{store.bucket} --location={chosen.region} --uniform-bucket-level-access",
        )
        return
    with complaints(f"asking what may be done with bucket {store.bucket}"):
        held = set(found.test_iam_permissions(list(_OBJECTS)))
    missing = [each for each in _OBJECTS if each not in held]
    if missing:
        yield (
            False,
            f"{', '.join(missing)} missing; run: gcloud storage buckets add-iam-policy-binding gs://{store.bucket} "
            f"--member={member} --role=roles/storage.objectUser",
        )
    else:
        yield True, f"bucket {store.bucket} in {str(found.location).lower()}: objects can be written and read"
    if store.expires(found):
        yield True, f"bucket {store.bucket} removes what is left behind"
    else:
        yield (
            False,
            f"bucket {store.bucket} keeps what is left behind; run: cooperbench config gcp --create-bucket",
        )


def _quotas(asker: _Asker, chosen: Settings) -> Iterator[Finding]:
    path = f"/compute/v1/projects/{chosen.project_id}/regions/{chosen.region}"
    status, found = asker.ask("compute", path)
    known = machine(chosen.machine_type)
    if status != 200 or not isinstance(found.get("quotas"), list):
        yield True, f"quotas: not for these credentials to see ({status})"
        return
    family = chosen.machine_type.partition("-")[0].upper()
    needs = {
        f"{family}_CPUS": known.processors,
        "CPUS": known.processors,
        "PREEMPTIBLE_CPUS": known.processors,
        "IN_USE_ADDRESSES": 1 if chosen.external_address else 0,
        "SSD_TOTAL_GB": chosen.boot_disk_gib,
    }
    for quota in found["quotas"]:
        need = needs.get(quota.get("metric"), 0)
        limit, usage = float(quota.get("limit") or 0), float(quota.get("usage") or 0)
        # A family's own quota, and the one of Spot processors, are 0 where another one counts.
        if not need or (limit == 0 and quota["metric"] not in ("CPUS", "IN_USE_ADDRESSES", "SSD_TOTAL_GB")):
            continue
        room = int((limit - usage) // need)
        told = f"quota {quota['metric']}: {usage:g} of {limit:g} in use, room for {max(0, room)} machines"
        more = "; ask for more: https://console.cloud.google.com/iam-admin/quotas"
        yield room > 0, told if room > 0 else told + more
