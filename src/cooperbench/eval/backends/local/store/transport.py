"""HTTP to registries: connections kept and used again, redirects followed without taking credentials along."""

from __future__ import annotations

import http.client
import ipaddress
import socket
import ssl
import threading
import urllib.parse
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import cooperbench
from cooperbench.eval.backends.local.store.streams import Interrupted

_SECONDS = 60.0
_MOST_REDIRECTS = 5
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_LONGEST_COMPLAINT = 64 << 10


class Unreachable(Interrupted):
    """Nobody answers, or what is answered is no HTTP."""


@dataclass(slots=True)
class Answer:
    """A response whose body is read in pieces; `close` it, or read it to its end."""

    status: int
    headers: Mapping[str, str]
    """Names in lower case."""
    _response: http.client.HTTPResponse
    _give_back: Any = field(default=None)

    def pieces(self, size: int) -> Iterator[bytes]:
        """The body.

        Raises:
            Unreachable: it ends early.
        """
        try:
            while piece := self._response.read1(size):
                yield piece
            if self._response.length:
                raise Unreachable(f"the connection ended {self._response.length} bytes early")
        except (OSError, http.client.HTTPException) as problem:
            raise Unreachable(_reason(problem)) from problem
        self._done()

    def content(self, limit: int) -> bytes:
        """The whole body.

        Raises:
            Unreachable: it is longer than `limit`, or ends early.
        """
        found = b""
        for piece in self.pieces(limit + 1):
            found += piece
            if len(found) > limit:
                self.close()
                raise Unreachable(f"an answer longer than {limit} bytes")
        return found

    def complaint(self) -> bytes:
        """The beginning of an error's body."""
        try:
            return self._response.read(_LONGEST_COMPLAINT)
        except (OSError, http.client.HTTPException):
            return b""
        finally:
            self.close()

    def close(self) -> None:
        """Let go, whatever is left of it."""
        self._response.close()
        if self._give_back is not None:
            self._give_back(False)
            self._give_back = None

    def _done(self) -> None:
        self._response.close()
        if self._give_back is not None:
            self._give_back(not self._response.will_close)
            self._give_back = None


class Connections:
    """Kept connections, by scheme and host. Safe to use from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._idle: dict[tuple[str, str], list[http.client.HTTPConnection]] = {}
        self._tls: ssl.SSLContext | None = None

    def ask(
        self, method: str, url: str, headers: Mapping[str, str] | None = None, body: bytes | None = None
    ) -> Answer:
        """One request, redirects followed; `Authorization` goes to the first host only.

        Raises:
            Unreachable: no answer, or a redirect to what cannot be asked or must not be told the body.
        """
        try:
            return self._followed(method, url, dict(headers or {}), body)
        except (ValueError, http.client.HTTPException) as problem:  # no URL, or no host that can be
            raise Unreachable(f"{url.partition('?')[0]} cannot be asked: {_reason(problem)}") from problem

    def _followed(self, method: str, url: str, sent: dict[str, str], body: bytes | None) -> Answer:
        for _ in range(_MOST_REDIRECTS + 1):
            parts = urllib.parse.urlsplit(url)
            answer = self._once(method, parts, sent, body)
            if answer.status not in _REDIRECTS or "location" not in answer.headers:
                return answer
            answer.close()
            if body is not None:
                raise Unreachable(f"{parts.netloc} redirects what is not to be sent elsewhere")
            url = urllib.parse.urljoin(url, answer.headers["location"])
            target = urllib.parse.urlsplit(url)
            if (target.scheme, target.netloc) != (parts.scheme, parts.netloc):
                sent.pop("Authorization", None)
            if parts.scheme == "https" and target.scheme != "https":
                raise Unreachable(
                    f"{parts.netloc} redirects to {target.scheme}://{target.netloc}, which is not safe"
                )
        raise Unreachable(f"{parts.netloc} redirects more than {_MOST_REDIRECTS} times")

    def _once(
        self, method: str, url: urllib.parse.SplitResult, headers: Mapping[str, str], body: bytes | None
    ) -> Answer:
        key = url.scheme, url.netloc
        target = urllib.parse.urlunsplit(("", "", url.path or "/", url.query, ""))
        given = {"User-Agent": f"cooperbench/{cooperbench.__version__}", **headers}
        while True:
            connection, kept = self._connection(key)
            try:
                connection.request(method, target, body=body, headers=given)
                response = connection.getresponse()
                break
            except (OSError, ValueError, OverflowError, http.client.HTTPException) as problem:
                connection.close()
                if not kept:  # a kept one may have been closed at the other end: another
                    raise Unreachable(f"{url.netloc}: {_reason(problem)}") from problem
        found = {name.lower(): value for name, value in response.getheaders()}
        return Answer(response.status, found, response, lambda again: self._give_back(key, connection, again))

    def _connection(self, key: tuple[str, str]) -> tuple[http.client.HTTPConnection, bool]:
        with self._lock:
            if idle := self._idle.get(key):
                return idle.pop(), True
        return self._new(*key), False

    def _give_back(self, key: tuple[str, str], connection: http.client.HTTPConnection, again: bool) -> None:
        if not again:
            connection.close()
            return
        with self._lock:
            self._idle.setdefault(key, []).append(connection)

    def _new(self, scheme: str, place: str) -> http.client.HTTPConnection:
        if scheme == "http":
            return http.client.HTTPConnection(place, timeout=_SECONDS)
        if scheme != "https":
            raise Unreachable(f"{scheme}://{place}: neither http nor https")
        if self._tls is None:
            self._tls = ssl.create_default_context()
        host = urllib.parse.urlsplit(f"//{place}").hostname or ""
        proxy = urllib.request.getproxies().get("https")
        if proxy and not urllib.request.proxy_bypass(host):
            way = urllib.parse.urlsplit(proxy if "//" in proxy else f"//{proxy}")
            through = http.client.HTTPSConnection(
                way.hostname or "", way.port or 3128, timeout=_SECONDS, context=self._tls
            )
            through.set_tunnel(place)
            return through
        return http.client.HTTPSConnection(place, timeout=_SECONDS, context=self._tls)

    def close(self) -> None:
        """Close what is kept."""
        with self._lock:
            for idle in self._idle.values():
                for connection in idle:
                    connection.close()
            self._idle.clear()


def is_loopback(place: str) -> bool:
    """The host (with a port perhaps) is this machine itself, where plain HTTP is as good."""
    try:
        host = urllib.parse.urlsplit(f"//{place}").hostname or ""
        if host == "localhost" or host.endswith(".localhost"):
            return True
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _reason(problem: Exception) -> str:
    if isinstance(problem, ssl.SSLCertVerificationError):
        return f"its certificate is not trusted here ({problem.verify_message}); SSL_CERT_FILE names an authority"
    if isinstance(problem, socket.gaierror):
        return "there is no host of that name"
    if isinstance(problem, TimeoutError):
        return f"no answer within {_SECONDS:.0f} s"
    return " ".join(str(problem).split()) or type(problem).__name__
