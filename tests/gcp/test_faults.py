"""What goes wrong under a sandbox of gcp's: no command is lost or run twice, nothing is left, what ended is said."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator

import pytest

from cooperbench.errors import BackendError, SandboxLost, SandboxStartError
from cooperbench.eval.backends.base import SandboxSpec
from cooperbench.eval.backends.gcp import GCPBatchBackend
from cooperbench.eval.backends.gcp import sandbox as sandboxes
from cooperbench.eval.backends.gcp.sandbox import GCPSandbox
from tests.gcp import clouds
from tests.loopback.gcp.cloud import BUCKET, Cloud
from tests.loopback.gcp.test_batch import until


@pytest.fixture
def sandbox(backend: GCPBatchBackend) -> Iterator[GCPSandbox]:
    made = backend.create_sandbox(clouds.IMAGE)
    yield made
    made.terminate()


def job_of(cloud: Cloud, sandbox: GCPSandbox) -> str:
    """The name of the job that is its machine."""
    return next(each.name for each in cloud.batch.records() if each.name.endswith(f"/{sandbox.slot.job_id}"))


def count(sandbox: GCPSandbox) -> str:
    """Run something that shows how often it was run; what it says."""
    return sandbox.exec("sh", "-c", "echo once >>/count; wc -l </count").stdout_read().strip()


def test_a_command_runs_once(cloud: Cloud, sandbox: GCPSandbox) -> None:
    faults = (
        ("storage.objects.create", "*/in/*", {"status": 503, "times": 2}),
        ("storage.objects.create", "*/in/*", {"status": 429}),
        ("storage.objects.create", "*/in/*", {"lost": True}),
        ("storage.objects.create", "*/out/*", {"status": 503}),
        ("storage.objects.create", "*/out/*", {"lost": True}),
        ("storage.objects.get", "*/in/*", {"status": 500}),
        ("storage.objects.get", "*/in/*", {"lost": True}),
        ("storage.objects.get", "*/out/*", {"lost": True}),
    )
    for number, (operation, subject, happens) in enumerate(faults, 1):
        fault = cloud.fault(operation, subject=subject, **happens)
        assert count(sandbox) == str(number)
        assert fault.reached.is_set()
    assert max(cloud.store.writes.values()) == 1


def test_tokens_that_end_are_renewed(cloud: Cloud, sandbox: GCPSandbox) -> None:
    assert count(sandbox) == "1"
    cloud.accounts.expire()
    assert count(sandbox) == "2"
    assert cloud.traffic.count("metadata.get") >= 2


@pytest.mark.parametrize("end", [Cloud.lose_vm, Cloud.preempt, Cloud.delete_job])
def test_a_machine_that_is_gone(
    end: Callable[[Cloud, str], None], cloud: Cloud, backend: GCPBatchBackend, sandbox: GCPSandbox
) -> None:
    said: list[BackendError] = []

    def wait() -> None:
        try:
            sandbox.exec("sleep", "600")
        except BackendError as problem:
            said.append(problem)

    caller = threading.Thread(target=wait)
    caller.start()
    until(lambda: any("/in/" in name for name in cloud.store.names(BUCKET)))
    end(cloud, job_of(cloud, sandbox))
    caller.join(120)
    assert [type(each) for each in said] == [SandboxLost]
    with pytest.raises(SandboxLost):
        sandbox.exec("true")
    another = backend.create_sandbox(clouds.IMAGE)
    assert another.exec("echo", "fine").stdout_read() == "fine\n"
    another.terminate()


def test_a_job_is_submitted_once(cloud: Cloud, backend: GCPBatchBackend) -> None:
    cloud.fault("batch.CreateJob", status=503)
    cloud.fault("batch.CreateJob", lost=True)
    sandbox = backend.create_sandbox(clouds.IMAGE)
    assert cloud.traffic.count("batch.CreateJob") == 3
    assert len(cloud.batch.records()) == 1
    sandbox.terminate()


def test_a_job_is_deleted_in_the_end(cloud: Cloud) -> None:
    with clouds.backend_on(cloud) as backend:
        backend.create_sandbox(clouds.IMAGE).terminate()
        cloud.fault("batch.DeleteJob", status=503)
        cloud.fault("batch.DeleteJob", lost=True)
    assert cloud.batch.records() == []
    assert cloud.store.names(BUCKET) == []


def test_who_may_not_is_told_what_to_ask_for(cloud: Cloud, backend: GCPBatchBackend) -> None:
    cloud.accounts.denied.add("iam.serviceAccounts.actAs")
    with pytest.raises(BackendError, match=r"roles/iam\.serviceAccountUser"):
        backend.create_sandbox(clouds.IMAGE)
    cloud.accounts.denied.add("batch.jobs.create")
    with (
        clouds.backend_on(cloud) as other,
        pytest.raises(BackendError, match="cooperbench config gcp --check"),
    ):
        other.create_sandbox(clouds.IMAGE)


def test_who_may_use_a_bucket_need_not_look_at_it(cloud: Cloud) -> None:
    """`roles/storage.objectUser` alone does not hold `storage.buckets.get`."""
    cloud.accounts.denied.add("storage.buckets.get")
    with clouds.backend_on(cloud) as backend:
        sandbox = backend.create_sandbox(clouds.IMAGE)
        assert sandbox.exec("echo", "works").stdout_read() == "works\n"
        sandbox.terminate()


def test_without_quota_the_wait_is_explained(
    cloud: Cloud, backend: GCPBatchBackend, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sandboxes, "_TELL_AFTER", 0.0)
    cloud.zone.no_quota = (
        "Quota checking process decided to delay scheduling: quota CPUS exceeded in us-central1."
    )
    made: list[GCPSandbox] = []
    caller = threading.Thread(target=lambda: made.append(backend.create_sandbox(clouds.IMAGE)))
    with caplog.at_level(logging.WARNING):
        caller.start()
        until(lambda: "CPUS exceeded" in caplog.text)
    assert "ask for more quota" in caplog.text
    cloud.zone.give_quota()
    caller.join(120)
    made[0].terminate()


def test_patience_is_for_all_tries_together(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sandboxes, "_TELL_AFTER", 0.0)
    cloud.zone.no_quota = "quota CPUS exceeded in us-central1."
    with clouds.backend_on(cloud, boot_patience=1) as backend:
        with pytest.raises(SandboxStartError, match=r"no machine within 1 s.*CPUS exceeded"):
            backend.create_sandbox(clouds.IMAGE)
        assert cloud.traffic.count("batch.CreateJob") == 1
        cloud.zone.give_quota()


def test_names_are_not_obeyed(backend: GCPBatchBackend, sandbox: GCPSandbox) -> None:
    with pytest.raises(SandboxStartError, match="cannot be pulled"):
        backend.create_sandbox(clouds.OBEYED)
    odd = backend.create_sandbox(clouds.IMAGE, workdir=f"/{clouds.OBEYED}")
    assert odd.exec("pwd").stdout_read() == f"/{clouds.OBEYED}\n"
    odd.terminate()
    assert sandbox.exec("echo", "still here").stdout_read() == "still here\n"
    assert not clouds.WITNESS.exists()


def test_a_sandbox_sees_neither_mailbox_nor_credentials(cloud: Cloud, backend: GCPBatchBackend) -> None:
    for network in ("none", "open"):
        sandbox = backend.create(SandboxSpec(clouds.IMAGE, 600, network=network))
        seen = sandbox.exec("sh", "-c", "env; mount; ls /mnt /run /tmp; cat /proc/1/cmdline").stdout_read()
        for secret in (
            "ya29",
            "COOPERBENCH",
            BUCKET,
            "docker.sock",
            cloud.environment["GOOGLE_APPLICATION_CREDENTIALS"],
        ):
            assert secret not in seen
        sandbox.terminate()
    assert [leak for vm in cloud.zone.made for leak in vm.engine.leaks] == []
    rules = (cloud.zone.made[-1].directory / "iptables").read_text()
    assert "169.254.0.0/16" in rules


def test_a_warm_machine_serves_one_sandbox_after_another(cloud: Cloud, backend: GCPBatchBackend) -> None:
    for _ in range(3):
        sandbox = backend.create_sandbox(clouds.IMAGE)
        assert sandbox.exec("ls", "/mark").returncode != 0
        assert sandbox.exec("touch", "/mark").returncode == 0
        sandbox.terminate()
    assert cloud.traffic.count("batch.CreateJob") == 1
    assert [vm.engine.pulls for vm in cloud.zone.made[-1:]] == [[clouds.IMAGE]]
