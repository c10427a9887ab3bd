"""Where requests to registries may be sent on to, and what comes of addresses that are none."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import closing
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from cooperbench.eval.backends.local.store.transport import Connections, Unreachable, is_loopback


class _Elsewhere(ThreadingHTTPServer):
    """Sends everybody to `location`."""

    daemon_threads = True
    location = ""
    asked = 0


class _Answers(BaseHTTPRequestHandler):
    server: _Elsewhere

    def do_POST(self) -> None:
        self.server.asked += 1
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.send_response(307)
        self.send_header("Location", self.server.location)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def do_GET(self) -> None:
        self.do_POST()

    def log_message(self, *_: Any) -> None:
        """Nothing is told."""


@pytest.fixture
def elsewhere() -> Iterator[_Elsewhere]:
    server = _Elsewhere(("127.0.0.1", 0), _Answers)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


def _ask(url: str, body: bytes | None = None) -> str:
    with closing(Connections()) as connections, pytest.raises(Unreachable) as caught:
        connections.ask("GET" if body is None else "POST", url, {}, body)
    return str(caught.value)


def test_a_body_is_not_sent_on(elsewhere: _Elsewhere) -> None:
    address = f"http://127.0.0.1:{elsewhere.server_address[1]}"
    elsewhere.location = f"{address}/again"
    assert "not to be sent elsewhere" in _ask(f"{address}/token", b"refresh_token=secret")
    assert elsewhere.asked == 1


@pytest.mark.parametrize("location", ["http://[x", "http://a..b/", "http://h:port/", "/a b", "/\xe9"])
def test_hostile_redirects(elsewhere: _Elsewhere, location: str) -> None:
    elsewhere.location = location
    assert _ask(f"http://127.0.0.1:{elsewhere.server_address[1]}/")


@pytest.mark.parametrize("url", ["https://a..b/v2/", "http://[:::]/", "http://127.0.0.1:99999/", "http://"])
def test_addresses_that_are_none(url: str) -> None:
    assert _ask(url)


@pytest.mark.parametrize(
    ("place", "loopback"),
    [
        ("localhost:5000", True),
        ("127.0.0.1", True),
        ("[::1]:80", True),
        ("127.0.0.1@x.example", False),
        ("[", False),
    ],
)
def test_loopback(place: str, loopback: bool) -> None:
    assert is_loopback(place) is loopback
