"""What a project's owner asks about it, and what a VM asks about itself."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import google.auth
import pytest
import requests
from google.auth.transport.requests import AuthorizedSession

from tests.loopback.gcp.cloud import BUCKET, PROJECT, REGION, Cloud

TOKEN = "/computeMetadata/v1/instance/service-accounts/default/token"
FLAVOR = {"Metadata-Flavor": "Google"}


@pytest.fixture
def session(cloud: Cloud) -> Iterator[AuthorizedSession]:
    del cloud  # whose environment says who we are
    credentials, project = google.auth.default(scopes=["https://www.googleapis.com/auth/cloud-platform"])
    assert project == PROJECT
    with AuthorizedSession(credentials) as made:
        yield made


def test_services_quotas_permissions(cloud: Cloud, session: AuthorizedSession) -> None:
    url = cloud.environment["COOPERBENCH_GCP_API_ENDPOINT"]
    service = f"{url}/v1/projects/{PROJECT}/services/batch.googleapis.com"
    assert session.get(service).json()["state"] == "ENABLED"
    cloud.project.enabled.discard("batch.googleapis.com")
    assert session.get(service).json()["state"] == "DISABLED"
    cloud.project.enabled.add("batch.googleapis.com")
    quotas = session.get(f"{url}/compute/v1/projects/{PROJECT}/regions/{REGION}").json()["quotas"]
    assert {"metric": "CPUS", "limit": 500.0, "usage": 0.0} in quotas
    assert session.get(f"{url}/compute/v1/projects/{PROJECT}/regions/mars-north1").status_code == 404
    assert session.get(f"{url}/v1/projects/another/services/batch.googleapis.com").status_code == 403
    cloud.accounts.denied.add("batch.jobs.create")
    asked = {"permissions": ["batch.jobs.create", "batch.jobs.get"]}
    granted = session.post(f"{url}/v1/projects/{PROJECT}:testIamPermissions", json=asked).json()
    assert granted == {"permissions": ["batch.jobs.get"]}
    number = session.get(f"{url}/v1/projects/{PROJECT}").json()["projectNumber"]
    account = f"{number}-compute@developer.gserviceaccount.com"
    assert account == cloud.accounts.vm
    act_as = {"permissions": ["iam.serviceAccounts.actAs"]}
    on_account = f"{url}/v1/projects/{PROJECT}/serviceAccounts/{{}}:testIamPermissions".format
    assert session.post(on_account(account), json=act_as).json() == act_as
    assert session.post(on_account("nobody@example.test"), json=act_as).status_code == 404
    on_project = session.post(f"{url}/v1/projects/{PROJECT}:testIamPermissions", json=act_as).json()
    assert on_project == {"permissions": []}, "what is granted on the account is not granted on the project"


def test_a_vm_gets_a_token_for_objects_of_one_bucket(cloud: Cloud) -> None:
    metadata = cloud.environment["COOPERBENCH_GCP_METADATA_ENDPOINT"]
    storage = cloud.environment["COOPERBENCH_GCP_STORAGE_ENDPOINT"]
    cloud.store.create_bucket("not-for-vms", {})
    with requests.Session() as nobody:
        assert nobody.get(metadata + TOKEN).status_code == 403
        token = nobody.get(metadata + TOKEN, headers=FLAVOR).json()["access_token"]
        nobody.headers["Authorization"] = f"Bearer {token}"
        assert nobody.put(f"{storage}/{BUCKET}/x", data=b"1").status_code == 200
        assert nobody.put(f"{storage}/not-for-vms/x", data=b"1").status_code == 403
        assert nobody.patch(f"{storage}/storage/v1/b/{BUCKET}", json={"lifecycle": {}}).status_code == 403
        jobs = f"{cloud.rest_url}/v1/projects/{PROJECT}/locations/{REGION}/jobs"
        assert nobody.get(jobs).status_code == 403
        cloud.accounts.expire()
        assert nobody.get(f"{storage}/{BUCKET}/x").status_code == 401
    assert cloud.traffic.count("storage.objects.create", account=cloud.accounts.vm) == 2
    cloud.store.delete_bucket("not-for-vms")


def test_the_processes_environment_is_put_back(cloud: Cloud) -> None:
    assert os.environ["GCP_BUCKET"] == BUCKET
    with cloud.entered():
        os.environ["GCP_BUCKET"] = "changed"
    assert os.environ["GCP_BUCKET"] == BUCKET


def test_a_command_against_a_cloud_of_its_own() -> None:
    program = "from google.cloud import storage; import os; print(storage.Client().project, os.environ['GCP_BUCKET'])"
    command = [
        sys.executable,
        "-m",
        "tests.loopback.gcp",
        sys.executable,
        "-c",
        f"{program}; raise SystemExit(7)",
    ]
    root = Path(__file__).parents[3]
    ran = subprocess.run(command, cwd=root, capture_output=True, text=True, timeout=120, check=False)
    assert (ran.returncode, ran.stdout) == (7, f"{PROJECT} {BUCKET}\n"), ran.stderr
