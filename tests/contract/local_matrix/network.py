"""What a sandbox can reach."""

from __future__ import annotations

import contextlib
import os
import socket

from cooperbench.errors import SandboxStartError
from cooperbench.eval.backends.base import SandboxSpec

from .frame import PATIENCE, Impossible, Matrix, case, sh


@case
def open_network_does_not_reach_the_host(matrix: Matrix) -> None:
    try:
        sandbox = matrix.backend.create(SandboxSpec("host", 600, network="open"))
    except SandboxStartError as error:
        if "needs slirp4netns" in str(error) or "needs /dev/net/tun" in str(error):
            raise Impossible(str(error)) from error
        raise
    with socket.create_server(("0.0.0.0", 0)) as server:
        port = server.getsockname()[1]
        places = [
            "127.0.0.1",
            "10.0.2.2",
            "169.254.169.254",
            "10.1.2.3",
            "192.168.1.1",
            "172.17.0.1",
            *_own_addresses(),
        ]
        program = """
import socket, sys
print([name for _, name in socket.if_nameindex()])
for place in sys.argv[2:]:
    try:
        socket.create_connection((place, int(sys.argv[1])), 1)
    except OSError:
        continue
    raise SystemExit(f"reached {place}")
"""
        done = sandbox.run(["python3", "-c", program, str(port), *places], timeout=PATIENCE)
    assert done.returncode == 0, done
    assert "tap0" in done.stdout_read(), done
    lifted = sh(sandbox, "ip route del prohibit 10.0.0.0/8 || ip link add dummy0 type dummy")
    assert lifted.returncode != 0, lifted
    sandbox.terminate()


def _own_addresses() -> list[str]:
    with contextlib.suppress(OSError), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect(("192.0.2.9", 9))
        return [probe.getsockname()[0]]
    return []


@case
def host_network_only_on_request(matrix: Matrix) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        reach = ["python3", "-c", f"import socket; socket.create_connection(('127.0.0.1', {port}), 2)"]
        assert matrix.box.run(reach).returncode != 0
        sandbox = matrix.backend.create(SandboxSpec("host", 600, network="host"))
        assert sandbox.run(reach).returncode == 0
        sandbox.terminate()


@case
def abstract_sockets_of_the_host_are_out_of_reach(matrix: Matrix) -> None:
    name = f"cooperbench-{os.getpid()}"
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(f"\0{name}")
        server.listen()
        program = f"import socket; s=socket.socket(socket.AF_UNIX); s.connect(chr(0)+{name!r})"
        assert matrix.box.run(["python3", "-c", program]).returncode != 0
