"""What a sandbox reaches, by the mode of its network."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator

import pytest

from cooperbench.errors import SandboxStartError
from cooperbench.eval.backends.docker import DockerBackend, DockerSandbox, containers
from cooperbench.eval.backends.docker.containers import INTERNAL
from tests.docker import engines

SERVE = "import socket; s = socket.create_server(('', 8000)); print('up', flush=True); s.accept()"
REACH = "import socket, sys; socket.create_connection((sys.argv[1], int(sys.argv[2])), 3); print('reached')"


@contextlib.contextmanager
def _on(engine: DockerBackend, network: str) -> Iterator[DockerBackend]:
    address = engine._open()[0].place.address
    with contextlib.closing(DockerBackend(host=address, pull="never", network=network)) as backend:
        yield backend


def _address(sandbox: DockerSandbox) -> str:
    facts = sandbox.engine.api.inspect_container(sandbox.container)
    return str(facts["NetworkSettings"]["Networks"][INTERNAL]["IPAddress"])


def _reaches(sandbox: DockerSandbox, address: str, port: int) -> bool:
    return sandbox.exec("python3", "-c", REACH, address, str(port)).stdout == b"reached\n"


def test_internal_is_each_other_and_nothing_else(either: DockerBackend) -> None:
    with (
        engines.networked_by_nobody_else(),
        _on(either, "internal") as backend,
        socket.create_server(("0.0.0.0", 0)) as service,  # a service of this machine, as careless ones are
    ):
        first, second = (backend.create_sandbox(engines.IMAGE) for _ in range(2))
        try:
            serving = f'python3 -c "{SERVE}" >/up & until grep -q up /up; do :; done'
            assert second.run(["sh", "-c", serving], timeout=60).returncode == 0
            assert _reaches(first, _address(second), 8000)
            bridge = _address(first).rsplit(".", 1)[0] + ".1"
            hosts = {bridge, *(address for address in _own_addresses() if address != "127.0.0.1")}
            assert [each for each in hosts if _reaches(first, each, service.getsockname()[1])] == []
        finally:
            first.terminate()
            second.terminate()


def _own_addresses() -> set[str]:
    """This machine's, on the networks of its engine and towards the world."""
    found = set()
    for beyond in ("172.17.0.2", "192.0.2.1"):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe, contextlib.suppress(OSError):
            probe.connect((beyond, 9))  # nothing is sent
            found.add(probe.getsockname()[0])
    return found


def test_none_is_loopback_alone(either: DockerBackend) -> None:
    with _on(either, "none") as backend:
        sandbox = backend.create_sandbox(engines.IMAGE)
        assert sandbox.exec("ls", "/sys/class/net").stdout == b"lo\n"
        sandbox.terminate()


def test_a_network_of_that_name_that_is_not_ours(
    either: DockerBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken = "cooperbench-test-taken"
    monkeypatch.setattr(containers, "INTERNAL", taken)
    with _on(either, "internal") as backend:
        backend.client().create_network(taken, driver="bridge")
        try:
            with pytest.raises(SandboxStartError, match=f"docker network rm {taken}"):
                backend.create_sandbox(engines.IMAGE)
        finally:
            backend.client().remove_network(taken)
