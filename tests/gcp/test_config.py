"""`cooperbench config gcp`: what is settled is written, what is missing is told with the command for it."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from cooperbench.cli import main
from tests.gcp import clouds
from tests.loopback.gcp.cloud import BUCKET, Cloud

REGION = "us-central1"


@pytest.fixture(name="here", autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    return tmp_path


@pytest.fixture(name="cloud")
def _cloud() -> Iterator[Cloud]:
    """One for each test: they change what the project has."""
    with clouds.cloud() as made:
        yield made


def check(capsys: pytest.CaptureFixture[str]) -> tuple[int, dict[str, bool]]:
    """The exit code, and each line with whether it is fine."""
    code = main(["config", "gcp", "--check", "--json"])
    found = json.loads(capsys.readouterr().out)["found"]
    return code, {each["text"]: each["fine"] for each in found}


def test_a_project_that_is_ready(cloud: Cloud, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert (
        main(["config", "gcp", "--create-bucket", "--region", REGION, "--machine-type", "e2-standard-8"]) == 0
    )
    told = capsys.readouterr().out
    written = here / "config" / "cooperbench" / "config.toml"
    assert f"written: {written}" in told
    assert tomllib.loads(written.read_text())["backends"]["gcp"] == {
        "region": REGION,
        "machine_type": "e2-standard-8",
    }
    code, found = check(capsys)
    assert (code, set(found.values())) == (0, {True})
    assert any("room for" in line for line in found)
    assert any(line.endswith("e2-standard-8, bucket " + BUCKET) for line in found)
    assert cloud.traffic.unknown == []


def test_the_projects_own_file_keeps_its_other_lines(cloud: Cloud, here: Path) -> None:
    del cloud
    (here / "cooperbench.toml").write_text('# mine\nbackend = "gcp"\n')
    main(["config", "gcp", "--here", "--yes", "--bucket", "another-bucket"])
    text = (here / "cooperbench.toml").read_text()
    assert text.startswith('# mine\nbackend = "gcp"\n')
    assert tomllib.loads(text)["backends"]["gcp"] == {"bucket_name": "another-bucket"}


def test_what_is_missing_comes_with_its_command(cloud: Cloud, capsys: pytest.CaptureFixture[str]) -> None:
    cloud.project.enabled.discard("batch.googleapis.com")
    cloud.accounts.denied |= {"batch.jobs.create", "storage.objects.create"}
    code, found = check(capsys)
    bad = "\n".join(line for line, fine in found.items() if not fine)
    assert code == 1
    assert "gcloud services enable batch.googleapis.com --project=" in bad
    assert "--role=roles/batch.jobsEditor" in bad
    assert "--role=roles/storage.objectUser" in bad
    assert "config gcp --create-bucket" in bad, "the bucket has no rule yet"


def test_acting_is_looked_for_on_the_machines_account(
    cloud: Cloud, capsys: pytest.CaptureFixture[str]
) -> None:
    _, found = check(capsys)
    assert found[f"roles/iam.serviceAccountUser on {cloud.accounts.vm}: held"]
    cloud.accounts.denied.add("iam.serviceAccounts.actAs")
    _, found = check(capsys)
    [bad] = [line for line, fine in found.items() if not fine and "actAs" in line]
    assert f"gcloud iam service-accounts add-iam-policy-binding {cloud.accounts.vm} --project=" in bad
    Path("cooperbench.toml").write_text('[backends.gcp]\nservice_account = "nobody@example.test"\n')
    _, found = check(capsys)
    assert any(line.startswith("there is no account nobody@example.test") for line in found)
    assert cloud.traffic.unknown == []


def test_no_bucket_yet(
    cloud: Cloud, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GCP_BUCKET", "brand-new-bucket")
    code, found = check(capsys)
    assert code == 1
    assert any(line.startswith("there is no bucket brand-new-bucket") for line in found)
    assert main(["config", "gcp", "--create-bucket", "--yes"]) == 0
    assert cloud.traffic.unknown == []


def test_without_credentials(
    cloud: Cloud, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, here: Path
) -> None:
    del cloud
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(here / "no-key.json"))
    code, found = check(capsys)
    assert code == 1
    [line] = found
    assert "gcloud auth application-default login" in line


def test_check_writes_nothing(cloud: Cloud, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    del cloud
    assert main(["config", "gcp", "--check", "--region", REGION]) == 2
    assert "--check" in capsys.readouterr().err
    assert not (here / "config").exists()
