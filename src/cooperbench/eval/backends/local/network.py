"""Network for sandboxes: none, the internet without this host and its neighbourhood, or the host's own.

`open` is user-mode networking: a helper program (slirp4netns, or pasta for ordinary users) carries the packets of the
sandbox's own network namespace. What must not be reached is forbidden inside, by routes PID 1 sets before it gives up
the capability to change them: private and link-local networks (cloud metadata among them), the networks this host is
attached to, and its own addresses. The helper dies with the sandbox: PID 1 holds the other end of a pipe it watches.
"""

from __future__ import annotations

import contextlib
import ipaddress
import logging
import os
import select
import shutil
import signal
import subprocess
import weakref
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cooperbench.errors import SandboxStartError
from cooperbench.eval.backends.base import Network
from cooperbench.eval.backends.local.inside import wire

log = logging.getLogger(__name__)

NEVER = (
    "0.0.0.0/8",
    "10.0.0.0/8",
    "100.64.0.0/10",
    "169.254.0.0/16",
    "172.16.0.0/12",
    "192.0.0.0/24",
    "192.168.0.0/16",
    "198.18.0.0/15",
    "224.0.0.0/4",
    "240.0.0.0/4",
)
"""Private, shared, link-local, benchmarking, multicast, reserved. There is no IPv6 in a sandbox's open network."""
_DNS = "10.0.2.3"
_ATTACH_SECONDS = 20.0
_REMEDY = "install slirp4netns (apt install slirp4netns), or give the sandbox network 'none'"


@dataclass(frozen=True, slots=True)
class Plan:
    """What a sandbox has to be told about its network."""

    mode: Network
    forbidden: tuple[str, ...] = ()
    """Networks that must not be reached."""
    files: dict[str, str] = field(default_factory=dict)

    def message(self) -> dict[str, Any]:
        """As the zygote takes it."""
        return {"mode": self.mode, "forbidden": self.forbidden}


def plan(mode: Network) -> Plan:
    """How to grant this wish.

    Raises:
        SandboxStartError: it cannot be granted here; the message says what to install.
    """
    if mode == "none":
        return Plan(mode)
    if mode == "host":
        log.warning("a sandbox shares the host's network: services on this host are in its reach")
        return Plan(mode, files={"/etc/resolv.conf": Path("/etc/resolv.conf").read_text(errors="replace")})
    _helper()
    return Plan(mode, forbidden(), {"/etc/resolv.conf": f"nameserver {_DNS}\n"})


def forbidden() -> tuple[str, ...]:
    """The networks no sandbox may reach from here, this moment."""
    own = [*_addresses(Path("/proc/net/fib_trie")), *_attached(Path("/proc/net/route"))]
    networks = [ipaddress.IPv4Network(name) for name in (*NEVER, *own)]
    outside = [network for network in networks if network.prefixlen and not network.is_loopback]
    return tuple(str(network) for network in ipaddress.collapse_addresses(outside))


def _addresses(path: Path) -> list[str]:
    """This host's own addresses: in the kernel's trie, what stands above ``/32 host LOCAL``."""
    found, last = [], ""
    for line in _lines(path):
        if line.startswith("|--"):
            last = line[3:].strip()
        elif line.startswith("/32 host LOCAL"):
            found.append(f"{last}/32")
    return found


def _attached(path: Path) -> list[str]:
    """Networks this host reaches without a gateway."""
    found = []
    for line in _lines(path)[1:]:
        fields = line.split()
        if len(fields) > 7 and fields[2] == "00000000" and fields[1] != "00000000":
            address, mask = (int.from_bytes(bytes.fromhex(fields[at]), "little") for at in (1, 7))
            found.append(f"{ipaddress.IPv4Address(address)}/{mask.bit_count()}")
    return found


def _lines(path: Path) -> list[str]:
    try:
        return [line.strip() for line in path.read_text().splitlines()]
    except OSError:
        return []


# ---------------------------------------------------------------------------------------------- the helper program


def _helper() -> str:
    """Path of the program that will do it."""
    names = ["slirp4netns"] if os.geteuid() == 0 else ["slirp4netns", "pasta"]
    for name in names:
        if found := shutil.which(name, path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin"):
            break
    else:
        raise SandboxStartError(f"local backend: network 'open' needs slirp4netns: {_REMEDY}")
    if not os.access("/dev/net/tun", os.R_OK | os.W_OK):
        raise SandboxStartError(
            "local backend: network 'open' needs /dev/net/tun, which this user may not open: "
            "as root, `modprobe tun; chmod 666 /dev/net/tun`, or give the sandbox network 'none'"
        )
    return found


class Helper:
    """A running helper program."""

    def __init__(self, user_namespace: int, net_namespace: int, lifeline: int) -> None:
        """Attach to these namespaces; ends when nobody holds the other end of `lifeline`.

        Raises:
            SandboxStartError: it could not; the message has its own words.
        """
        program = _helper()
        ready, told = os.pipe()
        said = os.memfd_create("network-helper")
        namespaces = (user_namespace, net_namespace)
        try:
            with wire.closing([told]):
                if program.endswith("slirp4netns"):
                    self._process = _slirp(program, namespaces, lifeline, told, said)
                else:
                    self._process = _pasta(program, namespaces, lifeline, told, said)
            self.end = weakref.finalize(self, _end, self._process)
            if not _heard(ready):
                self.end()
                words = os.pread(said, 4096, 0).decode("utf-8", "replace").strip().splitlines()
                raise SandboxStartError(
                    f"local backend: network 'open': {program}: {words[-1] if words else 'no word from it'}"
                )
        finally:
            wire.close_all([ready, said])


def _end(process: subprocess.Popen[bytes]) -> None:
    """Its sandbox is dead or given up, so it is about to go; no need to wait for it."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _heard(ready: int) -> bool:
    poll = select.poll()
    poll.register(ready, select.POLLIN)
    return bool(poll.poll(_ATTACH_SECONDS * 1000)) and bool(os.read(ready, 16))


_Namespaces = tuple[int, int]
_Process = subprocess.Popen[bytes]


def _slirp(program: str, namespaces: _Namespaces, lifeline: int, ready: int, said: int) -> _Process:
    options = ["--configure", "--mtu=65520", "--disable-host-loopback", "--netns-type=path"]
    options += [f"--ready-fd={ready}", f"--exit-fd={lifeline}"]
    if os.geteuid() == 0:  # enters with root's own rights, then locks itself up
        options += ["--enable-sandbox", "--enable-seccomp"]
    else:
        options.append(f"--userns-path=/proc/self/fd/{namespaces[0]}")
    return subprocess.Popen(
        [program, *options, f"/proc/self/fd/{namespaces[1]}", "tap0"],
        pass_fds=(*namespaces, lifeline, ready),
        stdin=subprocess.DEVNULL,
        stdout=said,
        stderr=said,
        start_new_session=True,
    )


def _pasta(program: str, namespaces: _Namespaces, lifeline: int, ready: int, said: int) -> _Process:
    """pasta writes its process id when it is ready; it watches no descriptor, so a shell does that for it."""
    options = ["--config-net", "-4", "-a", "10.0.2.100", "-n", "24", "-g", "10.0.2.2", "--dns-forward", _DNS]
    options += [
        "--no-map-gw",
        "-t",
        "none",
        "-u",
        "none",
        "-T",
        "none",
        "-U",
        "none",
        "-f",
        "-q",
        "-I",
        "tap0",
    ]
    options += ["-P", "/proc/self/fd/1", "--userns", f"/proc/self/fd/{namespaces[0]}"]
    options += ["--netns", f"/proc/self/fd/{namespaces[1]}"]
    return subprocess.Popen(
        ["/bin/sh", "-c", '"$@" & exec >&2; read -r _; kill -9 "$!"', "sh", program, *options],
        pass_fds=namespaces,
        stdin=lifeline,
        stdout=ready,
        stderr=said,
        start_new_session=True,
    )
