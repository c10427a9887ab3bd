"""What the agent asks of docker, asked of a real one: sandboxes and a batch on VMs with this machine's own engine."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from cooperbench.errors import SandboxLost
from cooperbench.eval.backends import shell
from cooperbench.eval.backends.base import SandboxSpec
from cooperbench.eval.backends.gcp import GCPBatchBackend
from tests.docker import engines
from tests.gcp import clouds
from tests.gcp.batches import done, wishes, work
from tests.gcp.test_batch import all_fine
from tests.loopback.gcp.cloud import Cloud
from tests.loopback.gcp.vm import own_engine


@pytest.fixture(scope="module", name="only_cloud")
def _only_cloud() -> Iterator[Cloud]:
    with engines.docker(), clouds.cloud(own_docker=True) as made:
        yield made


def left(cloud: Cloud) -> list[str]:
    """Containers of the cloud's VMs on the engine."""
    return [container for vm in cloud.zone.made for container in own_engine.containers(vm.name)]


def test_sandboxes(backend: GCPBatchBackend, cloud: Cloud) -> None:
    sandbox = backend.create(SandboxSpec(engines.IMAGE, 600, "/made/here"))
    done = sandbox.exec("sh", "-c", 'pwd; echo "$1" >&2; exit 3', "sh", "it's")
    assert (done.returncode, done.stdout, done.stderr) == (3, b"/made/here\n", b"it's\n")
    files = {"/made/there/a": bytes(range(256)), "/made/there/b": b""}
    shell.put_files(sandbox, files)
    assert shell.get_files(sandbox, "/made/there") == {"a": files["/made/there/a"], "b": b""}
    limited = shell.run(sandbox, ["sh", "-c", "echo begun; sleep 600"], timeout=1)
    assert (limited.timed_out, limited.stdout) == (True, b"begun\n")
    assert sandbox.exec("/no/such/program").returncode == 127
    another = backend.create_sandbox(engines.IMAGE)
    assert another.exec("ls", "/made").returncode != 0
    cloud.lose_vm(cloud.batch.records()[0].name)
    with pytest.raises(SandboxLost):
        sandbox.exec("true")
    assert left(cloud) == []


def test_a_batch(backend: GCPBatchBackend, cloud: Cloud) -> None:
    all_fine(done(backend, [work(number, image=engines.IMAGE) for number in range(4)], wishes(2)), 4)
    assert left(cloud) == []
