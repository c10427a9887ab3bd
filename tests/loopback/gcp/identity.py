"""OAuth's token endpoint, a VM's metadata server, and what `cooperbench config gcp` asks about a project.

Sources: https://developers.google.com/identity/protocols/oauth2/service-account (JWT grant);
https://cloud.google.com/compute/docs/metadata/querying-metadata (the Metadata-Flavor header is demanded);
https://cloud.google.com/service-usage/docs/reference/rest (services.get);
https://cloud.google.com/compute/docs/reference/rest/v1/regions (quotas);
https://cloud.google.com/resource-manager/reference/rest/v1/projects (get, testIamPermissions);
https://cloud.google.com/iam/docs/reference/rest/v1/projects.serviceAccounts/testIamPermissions (what is held on the
project counts too); https://cloud.google.com/compute/docs/access/service-accounts (the default account's name).
"""

from __future__ import annotations

import re
import urllib.parse
from collections.abc import Callable
from dataclasses import dataclass, field

from tests.loopback.gcp.accounts import Accounts
from tests.loopback.gcp.web import Operation, Refused, Reply, Request

_GRANT = "urn:ietf:params:oauth:grant-type:jwt-bearer"
_METADATA = "/computeMetadata/v1/"
_SERVICE = re.compile(r"/v1/projects/([^/]+)/services/([^/:]+)")
_REGION = re.compile(r"/compute/v1/projects/([^/]+)/regions/([^/]+)")
_PERMISSIONS = re.compile(r"/v1/projects/([^/:]+):testIamPermissions")
_PROJECT = re.compile(r"/v1/projects/([^/:]+)")
_ACCOUNT = re.compile(r"/v1/projects/([^/]+)/serviceAccounts/([^/:]+):testIamPermissions")
_ON_ACCOUNTS = frozenset({"iam.serviceAccounts.actAs"})
"""Granted on a service account and not on the project, as SECURITY.md asks for it."""
SERVICES = frozenset(f"{name}.googleapis.com" for name in ("batch", "compute", "logging", "storage"))


class Tokens:
    """OAuth's token endpoint."""

    def __init__(self, accounts: Accounts) -> None:
        self._accounts = accounts

    def route(self, request: Request) -> Operation | None:
        """What a request asks for, if it is for a token."""
        if request.path != "/token" or request.method != "POST":
            return None
        form = dict(urllib.parse.parse_qsl(request.body.decode()))
        return Operation("oauth.token", "harness", lambda: self._grant(form))

    def _grant(self, form: dict[str, str]) -> Reply:
        account = (
            self._accounts.assertion(form.get("assertion", "")) if form.get("grant_type") == _GRANT else None
        )
        if account is None:
            return Reply(400, b'{"error": "invalid_grant", "error_description": "Invalid JWT Signature."}')
        return Reply.of(self._accounts.issue(account))


class Metadata:
    """What a VM can ask about itself."""

    def __init__(self, accounts: Accounts, project: str, zone: str) -> None:
        self._accounts = accounts
        self._texts = {
            "project/project-id": project,
            "instance/zone": f"projects/1/zones/{zone}",
            "instance/service-accounts/default/email": accounts.vm,
        }

    def route(self, request: Request) -> Operation | None:
        """What a request asks for, if it is about the VM."""
        if not request.path.startswith(_METADATA) or request.method != "GET":
            return None
        name = request.path.removeprefix(_METADATA)

        def act() -> Reply:
            if request.headers.get("metadata-flavor") != "Google":
                raise Refused(403, "Missing Metadata-Flavor:Google header")
            told = {"Metadata-Flavor": "Google"}
            if name == "instance/service-accounts/default/token":
                return Reply.of(self._accounts.issue(self._accounts.vm), **told)
            if name in self._texts:
                return Reply(200, self._texts[name].encode(), "application/text", told)
            raise Refused(404, f"no metadata {name}")

        return Operation("metadata.get", name, act)


@dataclass(slots=True)
class Project:
    """One project as the control APIs describe it; tests change it."""

    name: str
    region: str
    enabled: set[str] = field(default_factory=lambda: set(SERVICES))
    quotas: dict[str, tuple[float, float]] = field(
        default_factory=lambda: {
            "CPUS": (500.0, 0.0),
            "PREEMPTIBLE_CPUS": (500.0, 0.0),
            "SSD_TOTAL_GB": (5000.0, 0.0),
        }
    )
    """Metric: (limit, usage)."""


class Control:
    """Service Usage, Compute's regions, Resource Manager, IAM."""

    def __init__(self, project: Project, accounts: Accounts) -> None:
        self._project = project
        self._accounts = accounts

    def route(self, request: Request) -> Operation | None:
        """What a request asks for, if it is for one of these."""
        if (found := _SERVICE.fullmatch(request.path)) and request.method == "GET":
            return self._operation(
                "serviceusage.services.get", found[1], found[2], lambda: self._service(found[2])
            )
        if (found := _REGION.fullmatch(request.path)) and request.method == "GET":
            return self._operation("compute.regions.get", found[1], found[2], lambda: self._region(found[2]))
        if (found := _PERMISSIONS.fullmatch(request.path)) and request.method == "POST":
            asked = [str(each) for each in request.json().get("permissions", [])]
            asked = [each for each in asked if each not in _ON_ACCOUNTS]
            return self._operation(
                "resourcemanager.projects.get", found[1], found[1], lambda: self._granted(asked)
            )
        if (found := _ACCOUNT.fullmatch(request.path)) and request.method == "POST":
            asked = [str(each) for each in request.json().get("permissions", [])]
            return self._operation(
                "iam.serviceAccounts.get", found[1], found[2], lambda: self._granted_on(found[2], asked)
            )
        if (found := _PROJECT.fullmatch(request.path)) and request.method == "GET":
            described = {"projectNumber": "1", "projectId": found[1], "lifecycleState": "ACTIVE"}
            return self._operation(
                "resourcemanager.projects.get", found[1], found[1], lambda: Reply.of(described)
            )
        return None

    def _operation(self, permission: str, project: str, subject: str, act: Callable[[], Reply]) -> Operation:
        def inside() -> Reply:
            if project != self._project.name:
                raise Refused(403, f"Permission denied on resource project {project}.")
            return act()

        return Operation(permission, subject, inside, permission)

    def _service(self, name: str) -> Reply:
        state = "ENABLED" if name in self._project.enabled else "DISABLED"
        return Reply.of({"name": f"projects/1/services/{name}", "state": state, "config": {"name": name}})

    def _region(self, name: str) -> Reply:
        if name != self._project.region:
            raise Refused(404, f"The resource 'projects/{self._project.name}/regions/{name}' was not found")
        quotas = [
            {"metric": m, "limit": limit, "usage": usage}
            for m, (limit, usage) in self._project.quotas.items()
        ]
        return Reply.of({"kind": "compute#region", "name": name, "status": "UP", "quotas": quotas})

    def _granted_on(self, email: str, asked: list[str]) -> Reply:
        if email != self._accounts.vm:
            raise Refused(404, f"Unknown service account {email}")
        return self._granted(asked)

    def _granted(self, asked: list[str]) -> Reply:
        return Reply.of({"permissions": [each for each in asked if each not in self._accounts.denied]})
