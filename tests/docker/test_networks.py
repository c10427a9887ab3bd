"""What a sandbox reaches, by the mode of its network."""

from __future__ import annotations

import contextlib
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from docker.types import IPAMConfig, IPAMPool

from cooperbench.errors import SandboxStartError
from cooperbench.eval.backends.docker import DockerBackend, DockerSandbox, networks
from cooperbench.eval.backends.docker.networks import INTERNAL
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
            with _past_the_other_engines_firewall(first):
                assert _reaches(first, _address(second), 8000)
            bridge = _address(first).rsplit(".", 1)[0] + ".1"
            hosts = {bridge, *(address for address in _own_addresses() if address != "127.0.0.1")}
            assert [each for each in hosts if _reaches(first, each, service.getsockname()[1])] == []
        finally:
            first.terminate()
            second.terminate()


@contextlib.contextmanager
def _past_the_other_engines_firewall(sandbox: DockerSandbox) -> Iterator[None]:
    """Docker's firewall lets nothing pass between the sandboxes of another engine on its machine."""
    network = _address(sandbox).rsplit(".", 1)[0] + ".0/24"
    rule = ["FORWARD", "-s", network, "-d", network, "-j", "ACCEPT"]
    subprocess.run(["iptables", "-I", *rule], check=True)
    try:
        yield
    finally:
        subprocess.run(["iptables", "-D", *rule], check=True)


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
    monkeypatch.setattr(networks, "INTERNAL", taken)
    with _on(either, "internal") as backend:
        backend.client().create_network(taken, driver="bridge")
        try:
            with pytest.raises(SandboxStartError, match=f"(docker|podman) network rm {taken}"):
                backend.create_sandbox(engines.IMAGE)
        finally:
            backend.client().remove_network(taken)


def test_a_network_of_ours_with_an_address_of_the_hosts(
    podman: DockerBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As Podman makes one by Docker's API: its bridge leads to all of the host's services."""
    monkeypatch.setattr(networks, "INTERNAL", "cooperbench-test-open")
    with _on(podman, "internal") as backend:
        pool = IPAMPool(subnet="10.231.77.0/24", gateway="10.231.77.1")
        backend.client().create_network(
            networks.INTERNAL,
            driver="bridge",
            internal=True,
            labels=networks._OURS,
            ipam=IPAMConfig(pool_configs=[pool]),
        )
        try:
            with pytest.raises(SandboxStartError, match=f"podman network rm {networks.INTERNAL}"):
                backend.create_sandbox(engines.IMAGE)
        finally:
            backend.client().remove_network(networks.INTERNAL)


FAILING = """#!/bin/sh
# In place of {real}: it fails while {fails}, as on a machine that has lost what a container was given.
if [ "${{CNI_COMMAND-ADD}}" = ADD ] && [ "${{1-setup}}" != teardown ] && {fails}; then
    echo '{{"cniVersion": "0.4.0", "code": 100, "msg": "netns is none", "error": "netns is none"}}'
    exit 1
fi
exec {real} "$@"
"""


@contextlib.contextmanager
def _whose_network_fails(directory: Path, fails: str) -> Iterator[DockerBackend]:
    """A Podman whose last program for networks, whichever kind it has, fails while `fails` is true."""
    for real in (*Path("/usr/lib/cni").glob("*"), *Path("/usr/lib/podman").glob("*")):
        if real.name in ("tuning", "netavark"):
            (directory / real.name).write_text(FAILING.format(real=real, fails=fails))
            (directory / real.name).chmod(0o755)
        else:
            (directory / real.name).symlink_to(real)
    configuration = f'helper_binaries_dir = ["{directory}"]\n[network]\ncni_plugin_dirs = ["{directory}"]\n'
    with engines.podman(configuration=configuration, network="open") as backend:
        yield backend


def test_a_network_that_an_engine_loses_is_given_once_more(tmp_path: Path) -> None:
    with _whose_network_fails(tmp_path, f"mkdir {tmp_path}/failed 2>/dev/null") as backend:
        sandbox = backend.create_sandbox(engines.IMAGE)
        assert sandbox.exec("echo", "up").stdout == b"up\n"
        sandbox.terminate()
        assert (tmp_path / "failed").is_dir()
        assert engines.containers_of(backend) == []


def test_a_network_that_an_engine_never_gives_is_an_error(tmp_path: Path) -> None:
    with _whose_network_fails(tmp_path, f"echo >>{tmp_path}/failed") as backend:
        with pytest.raises(SandboxStartError, match="netns is none"):
            backend.create_sandbox(engines.IMAGE)
        assert len((tmp_path / "failed").read_text()) == 2
        assert engines.containers_of(backend) == []
