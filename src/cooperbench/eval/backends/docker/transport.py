"""Connections to an engine, as the client library makes them but for three things it gets wrong.

Of a Unix socket it keeps a pool of idle connections for each address, with a container's id in it: dozens that nobody
ever uses again. It forgets a socket that could not be connected. And of an engine with certificates of its own it lets
`REQUESTS_CA_BUNDLE`, which is about the web, say who is to be trusted.
"""

from __future__ import annotations

import socket
from typing import Any

from docker.transport.unixconn import UnixHTTPAdapter, UnixHTTPConnection, UnixHTTPConnectionPool

from docker import APIClient

WHEREVER = "http+docker://"
"""How the client library writes the address of a socket."""

_CONNECTIONS = 64
"""Idle ones kept, at most."""


class Client(APIClient):  # type: ignore[misc]
    """The client library's, trusting whom it was told to trust."""

    def merge_environment_settings(self, url: Any, proxies: Any, stream: Any, verify: Any, cert: Any) -> Any:
        told = self.verify if verify is None else verify
        return super().merge_environment_settings(url, proxies, stream, told, cert)


def install(api: Any, patience: float) -> None:
    """Give a client that talks to a Unix socket this transport; others stay as they are."""
    given = api.adapters.get(WHEREVER)
    if isinstance(given, UnixHTTPAdapter):
        given.close()
        api._custom_adapter = OnePool(f"http+unix://{given.socket_path}", patience, 1, _CONNECTIONS)
        api.mount(WHEREVER, api._custom_adapter)


def answers(path: str) -> None:
    """Raise what connecting to the socket raises."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(5)
        probe.connect(path)


class OnePool(UnixHTTPAdapter):  # type: ignore[misc]
    """One pool for whatever is asked for."""

    def get_connection(self, url: str, proxies: Any = None) -> Any:
        del url, proxies
        with self.pools.lock:
            pool = self.pools.get(WHEREVER)
            if pool is None:
                pool = Pool(WHEREVER, self.socket_path, self.timeout, maxsize=self.max_pool_size)
                self.pools[WHEREVER] = pool
            return pool


class Pool(UnixHTTPConnectionPool):  # type: ignore[misc]
    """Its connections close what they cannot connect."""

    def _new_conn(self) -> Connection:
        return Connection(self.base_url, self.socket_path, self.timeout)


class Connection(UnixHTTPConnection):  # type: ignore[misc]
    """One connection."""

    def connect(self) -> None:
        opened = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            opened.settimeout(self.timeout)
            opened.connect(self.unix_socket)
        except BaseException:
            opened.close()
            raise
        self.sock = opened
