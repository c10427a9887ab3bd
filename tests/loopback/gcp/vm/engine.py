"""The container engine of one VM: a socket on which the `docker` command hands over its arguments and streams."""

from __future__ import annotations

import contextlib
import ipaddress
import os
import socket
import struct
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tests.loopback.gcp.vm import verbs
from tests.loopback.gcp.vm.containers import Container, Shelf
from tests.loopback.gcp.vm.options import CommandFailed
from tests.loopback.gcp.vm.streams import Streams


@dataclass(frozen=True, slots=True)
class Leak:
    """A container that could reach what it must not: the VM's credentials, or the VM."""

    container: str
    why: str


class Engine:
    """Images pulled, containers made: gone when the VM is."""

    def __init__(self, directory: Path, shelf: Shelf) -> None:
        self.shelf = shelf
        self.images: dict[str, str] = {}
        """Name and digest of what was pulled onto this VM."""
        self.pulls: list[str] = []
        self.made: list[str] = []
        """Names of all containers there have been."""
        self.logins: list[str] = []
        self.leaks: list[Leak] = []
        self._rules = directory / "iptables"
        self._lock = threading.Lock()
        self._containers: dict[str, Container] = {}
        self._over = False
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._socket.bind(str(directory / "docker.sock"))
        self._socket.listen(256)
        threading.Thread(target=self._accept, name=f"engine {directory.name}", daemon=True).start()

    def close(self) -> None:
        """The VM's end takes every container along."""
        with self._lock:
            self._over = True
            left = list(self._containers.values())
            self._containers.clear()
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        for container in left:
            container.sandbox.terminate()

    # ------------------------------------------------------------------------------------------ containers

    def add(self, container: Container) -> None:
        """A new one; its name must be free."""
        with self._lock:
            if not self._over and container.name not in self._containers:
                self._containers[container.name] = container
                self.made.append(container.name)
                return
        container.sandbox.terminate()
        text = f'Conflict. The container name "/{container.name}" is already in use by another container.'
        raise CommandFailed(f"Error response from daemon: {text}", 125)

    def find(self, name: str) -> Container:
        """By name or id."""
        with self._lock:
            for container in self._containers.values():
                if container.name == name or (len(name) >= 12 and container.id.startswith(name)):
                    return container
        raise CommandFailed(f"Error response from daemon: No such container: {name}")

    def all(self) -> list[Container]:
        """Every container, running or not."""
        with self._lock:
            return list(self._containers.values())

    def remove(self, container: Container) -> None:
        """With its files."""
        with self._lock:
            self._containers.pop(container.name, None)
        container.sandbox.terminate()

    def watch(self, container: Container, privileged: bool) -> None:
        """Note what a container could reach."""
        rules = self._rules.read_text().splitlines() if self._rules.exists() else []
        guarded = any(map(_guards, rules))
        if container.network == "host" or (container.network != "none" and not guarded):
            self.leaks.append(
                Leak(container.name, f"network {container.network}: the metadata server is in reach")
            )
        if privileged:
            self.leaks.append(Leak(container.name, "privileged"))

    # ------------------------------------------------------------------------------------------ the socket

    def _accept(self) -> None:
        while not self._over:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            threading.Thread(
                target=self._serve, args=(connection,), name="docker command", daemon=True
            ).start()

    def _serve(self, connection: socket.socket) -> None:
        with connection, contextlib.suppress(OSError, EOFError):
            head, descriptors, _, _ = socket.recv_fds(connection, 65536, 3)
            if not descriptors:  # the command's process was ended before it said anything
                return
            streams = Streams(_peer(connection), *descriptors)
            try:
                size = int.from_bytes(head[:4], "big")
                text = head[4:]
                while len(text) < size:
                    chunk = connection.recv(1 << 20)
                    if not chunk:
                        return
                    text += chunk
                code = self._obey(os.fsdecode(text).split("\0"), streams)
            finally:
                streams.close()
            connection.send(bytes([code & 255]))

    def _obey(self, words: list[str], streams: Streams) -> int:
        try:
            verb, rest = _verb(words)
            return verb(self, rest, streams)
        except CommandFailed as failure:
            streams.err(f"{failure}\n".encode())
            return failure.code


def _guards(rule: str) -> bool:
    """Whether a firewall rule keeps containers from the metadata server."""
    words = rule.split()
    if words[:1] != ["DOCKER-USER"] or words[-2:] != ["-j", "DROP"] or "-d" not in words:
        return False
    target = ipaddress.ip_network(words[words.index("-d") + 1])
    return ipaddress.ip_address("169.254.169.254") in target


def _verb(words: list[str]) -> tuple[Callable[[Engine, list[str], Streams], int], list[str]]:
    for length in (2, 1):
        found = verbs.VERBS.get(" ".join(words[:length]))
        if found:
            return found, words[length:]
    raise CommandFailed(f"docker: '{' '.join(words[:1])}' is not a docker command.\nSee 'docker --help'")


def _peer(connection: socket.socket) -> int:
    """The process at the other end, as numbered here."""
    size = struct.calcsize("3i")
    return int(struct.unpack("3i", connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, size))[0])
