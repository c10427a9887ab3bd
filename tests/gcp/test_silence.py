"""A machine that just stops: nobody says that it is gone, and waiting for its answer ends all the same."""

from __future__ import annotations

import threading

import pytest

from cooperbench.errors import SandboxLost
from cooperbench.eval.backends.gcp import GCPBatchBackend, mailbox
from tests.gcp import clouds
from tests.loopback.gcp.cloud import Cloud


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mailbox, "_LOOK_EVERY", 0.2)
    monkeypatch.setattr(mailbox, "_KNOCK_EVERY", 0.5)
    monkeypatch.setattr(mailbox, "_SILENCE", 3.0)


def test_an_agent_that_stands_still(cloud: Cloud, backend: GCPBatchBackend) -> None:
    sandbox = backend.create_sandbox(clouds.IMAGE)
    hold = threading.Event()
    try:
        cloud.fault("storage.objects.get", subject="*/in/*", account=cloud.accounts.vm, times=1000, gate=hold)
        with pytest.raises(SandboxLost, match="stopped answering"):
            sandbox.exec("sleep", "300")
        with pytest.raises(SandboxLost):
            sandbox.exec("true")
    finally:
        hold.set()
        sandbox.terminate()


def test_a_long_command_is_no_silence(
    cloud: Cloud, backend: GCPBatchBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mailbox, "_SILENCE", 60.0)
    sandbox = backend.create_sandbox(clouds.IMAGE)
    assert sandbox.exec("sh", "-c", "sleep 4; echo done").stdout_read() == "done\n"
    knocks = cloud.store.writes
    assert len([name for name in knocks if "/in/" in str(name)]) >= 2, "it was asked for a sign of life"
    assert sandbox.exec("echo", "still here").stdout_read() == "still here\n"
    sandbox.terminate()
