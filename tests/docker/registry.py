"""A registry on the loopback: enough of its protocol for an engine to really pull from."""

from __future__ import annotations

import base64
import contextlib
import gzip
import hashlib
import io
import json
import tarfile
import threading
from collections import Counter
from collections.abc import Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
LIST = "application/vnd.docker.distribution.manifest.list.v2+json"
USER, PASSWORD = "reader", "se:cret"
TOKEN = "a-token-for-reading"


class Registry(ThreadingHTTPServer):
    """Has a small image under any name, and what was `add`ed.

    `refusals` requests for a manifest are answered "too many requests" first. `auth` is what it asks readers for:
    nothing, ``basic`` credentials, or a ``token`` that it gives for those.
    """

    daemon_threads = True

    def __init__(self, auth: str = "") -> None:
        super().__init__(("127.0.0.1", 0), _Answers)
        self.auth = auth
        self.refusals = 0
        self.retry_after = ""
        """What a refusal says of when to come again."""
        self.cuts = 0
        """So many answers with a blob end in the middle of it."""
        self.gate: threading.Event | None = None
        """If set: blobs stop in the middle until it opens."""
        self.gates: dict[str, threading.Event] = {}
        """Repository → opened when its manifests may be had."""
        self.log: list[tuple[str, str, str]] = []
        """What was asked for: method and kind, repository, name."""
        self._logged = threading.Condition()
        self.ranges: list[str] = []
        """The parts of blobs that were asked for."""
        self.asked: Counter[str] = Counter()
        """How often each kind of thing was asked for; only what was given counts."""
        self.blobs: dict[str, bytes] = {}
        self.manifests: dict[str, tuple[str, bytes]] = {}
        """Name → media type and content."""
        self.plain = self.add("", b"here\n")
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def close(self) -> None:
        """Answer no more."""
        self.shutdown()
        self.server_close()

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.server_address[1]}"

    def asks(self, repository: str) -> list[str]:
        """What was asked for out of a repository, the oldest first."""
        with self._logged:
            return [what for what, where, _ in self.log if where == repository]

    def given(self, repository: str, what: str = "GET blobs") -> list[str]:
        """The names of what was asked for out of a repository."""
        with self._logged:
            return [name for each, where, name in self.log if (each, where) == (what, repository)]

    def await_ask(self, repository: str, seconds: float = 60) -> bool:
        """Wait until something is asked for out of a repository; whether it was."""
        with self._logged:
            return self._logged.wait_for(
                lambda: any(where == repository for _, where, _ in self.log), seconds
            )

    def note(self, what: str, repository: str, name: str) -> None:
        """Something is asked for."""
        with self._logged:
            self.log.append((what, repository, name))
            self._logged.notify_all()

    def add(self, name: str, *files: bytes, architecture: str = "amd64", listed: bool = False) -> str:
        """An image with a layer for each of `files`; its digest. `listed`: behind a list of platforms."""
        layers = [_layer(number, content) for number, content in enumerate(files)]
        config = {
            "architecture": architecture,
            "os": "linux",
            "config": {},
            "history": [{"created_by": _digest(content)} for content in files],
            "rootfs": {"type": "layers", "diff_ids": [_digest(layer) for layer in layers]},
        }
        return self.add_image(name, config, layers, listed=listed)

    def add_image(
        self, name: str, config: dict[str, Any], layers: Sequence[bytes], *, listed: bool = False
    ) -> str:
        """An image of these archives; its digest."""
        parts = [self._part("application/vnd.docker.container.image.v1+json", json.dumps(config).encode())]
        parts += [
            self._part("application/vnd.docker.image.rootfs.diff.tar.gzip", gzip.compress(layer, 1, mtime=0))
            for layer in layers
        ]
        content = {"schemaVersion": 2, "mediaType": MANIFEST, "config": parts[0], "layers": parts[1:]}
        kind, manifest = MANIFEST, json.dumps(content).encode()
        if listed:
            self.manifests[_digest(manifest)] = (kind, manifest)
            entry = {"mediaType": MANIFEST, "size": len(manifest), "digest": _digest(manifest)}
            entry["platform"] = {"architecture": config["architecture"], "os": "linux"}
            kind = LIST
            manifest = json.dumps({"schemaVersion": 2, "mediaType": LIST, "manifests": [entry]}).encode()
        self.manifests[name] = (kind, manifest)
        return _digest(manifest)

    def _part(self, kind: str, content: bytes) -> dict[str, Any]:
        self.blobs[_digest(content)] = content
        return {"mediaType": kind, "size": len(content), "digest": _digest(content)}


class _Answers(BaseHTTPRequestHandler):
    server: Registry

    def do_HEAD(self) -> None:
        self._answer(body=False)

    def do_GET(self) -> None:
        self._answer(body=True)

    def _answer(self, *, body: bool) -> None:
        path = self.path.partition("?")[0]
        if path == "/token":
            self._give_token()
            return
        if not self._admitted():
            self._send(401, "application/json", b'{"errors": [{"code": "UNAUTHORIZED"}]}', body)
            return
        above, _, name = path.rpartition("/")
        repository, _, kind = above.removeprefix("/v2/").rpartition("/")
        self.server.asked[kind] += 1
        self.server.note(f"{self.command} {kind}", repository, name)
        if kind == "manifests" and (gate := self.server.gates.get(repository)) is not None:
            gate.wait(900)
        if kind == "manifests" and self.server.refusals > 0:
            self.server.refusals -= 1
            refusal = {"errors": [{"code": "TOOMANYREQUESTS", "message": "toomanyrequests: slow down"}]}
            self._send(429, "application/json", json.dumps(refusal).encode(), body)
        elif kind == "manifests":
            known = self.server.manifests
            media, content = known.get(name) or known.get(repository) or known[""]
            self._send(200, media, content, body)
        elif kind == "blobs" and name in self.server.blobs:
            self._send_blob(self.server.blobs[name], body)
        elif path == "/v2/":
            self._send(200, "application/json", b"{}", body)
        else:
            self._send(404, "application/json", b'{"errors": [{"code": "MANIFEST_UNKNOWN"}]}', body)

    def _send_blob(self, content: bytes, body: bool) -> None:
        wanted = self.headers.get("Range", "")
        status = 200
        if wanted:
            self.server.ranges.append(wanted)
            status, content = 206, content[int(wanted.removeprefix("bytes=").partition("-")[0]) :]
        half = len(content) // 2
        if self.server.cuts and len(content) > 1000:
            self.server.cuts -= 1
            self._send(status, "application/octet-stream", content, body, until=half)
            self.close_connection = True
        elif self.server.gate is not None and len(content) > 1000:
            self._send(status, "application/octet-stream", content, body, until=half)
            self.wfile.flush()
            self.server.gate.wait(60)
            with contextlib.suppress(OSError):  # nobody is there any more
                self.wfile.write(content[half:])
        else:
            self._send(status, "application/octet-stream", content, body)

    # ---------------------------------------------------------------------------------------- who may

    def _admitted(self) -> bool:
        given = self.headers.get("Authorization", "")
        match self.server.auth:
            case "basic":
                return self._credentials()
            case "token":
                return given == f"Bearer {TOKEN}"
        return True

    def _credentials(self) -> bool:
        return self.headers.get("Authorization", "") == f"Basic {credentials()}"

    def _give_token(self) -> None:
        self.server.asked["token"] += 1
        if self._credentials():
            self._send(200, "application/json", json.dumps({"token": TOKEN}).encode(), True)
        else:
            self._send(401, "application/json", b'{"errors": [{"code": "UNAUTHORIZED"}]}', True)

    def _send(self, status: int, kind: str, content: bytes, body: bool, *, until: int | None = None) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        self.send_header("Docker-Content-Digest", _digest(content))
        if status == 401:
            realm = f'Bearer realm="http://{self.server.address}/token",service="tests"'
            self.send_header("WWW-Authenticate", realm if self.server.auth == "token" else 'Basic realm="x"')
        if status == 429 and self.server.retry_after:
            self.send_header("Retry-After", self.server.retry_after)
        self.end_headers()
        if body:
            with contextlib.suppress(ConnectionError):  # the reader has gone away
                self.wfile.write(content[:until])

    def log_message(self, *_: Any) -> None:
        """Nothing is told."""


def credentials() -> str:
    """As ``docker login`` keeps them."""
    return base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()


def _layer(number: int, content: bytes) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        member = tarfile.TarInfo(f"pulled{number}")
        member.size = len(content)
        archive.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


def _digest(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"
