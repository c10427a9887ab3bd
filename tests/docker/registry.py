"""A registry on the loopback: enough of its protocol for an engine to really pull from."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import tarfile
import threading
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"


class Registry(ThreadingHTTPServer):
    """Has one image under any name; `refusals` requests for a manifest are answered "too many requests" first."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Answers)
        self.refusals = 0
        self.asked: Counter[str] = Counter()
        self.blobs: dict[str, bytes] = {}
        self.manifest = self._image()
        self.digest = _digest(self.manifest)
        threading.Thread(target=self.serve_forever, daemon=True).start()

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.server_address[1]}"

    def _image(self) -> bytes:
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w") as archive:
            member = tarfile.TarInfo("pulled")
            member.size = 5
            archive.addfile(member, io.BytesIO(b"here\n"))
        layer = gzip.compress(buffer.getvalue(), mtime=0)
        config = {
            "architecture": "amd64",
            "os": "linux",
            "config": {},
            "rootfs": {"type": "layers", "diff_ids": [_digest(buffer.getvalue())]},
        }
        parts = []
        for kind, content in (
            ("application/vnd.docker.container.image.v1+json", json.dumps(config).encode()),
            ("application/vnd.docker.image.rootfs.diff.tar.gzip", layer),
        ):
            self.blobs[_digest(content)] = content
            parts.append({"mediaType": kind, "size": len(content), "digest": _digest(content)})
        return json.dumps(
            {"schemaVersion": 2, "mediaType": MANIFEST, "config": parts[0], "layers": parts[1:]}
        ).encode()


class _Answers(BaseHTTPRequestHandler):
    server: Registry

    def do_HEAD(self) -> None:
        self._answer(body=False)

    def do_GET(self) -> None:
        self._answer(body=True)

    def _answer(self, *, body: bool) -> None:
        kind, _, name = self.path.rpartition("/")
        kind = kind.rpartition("/")[2]
        self.server.asked[kind] += 1
        if kind == "manifests" and self.server.refusals > 0:
            self.server.refusals -= 1
            refusal = {"errors": [{"code": "TOOMANYREQUESTS", "message": "toomanyrequests: slow down"}]}
            self._send(429, "application/json", json.dumps(refusal).encode(), body)
        elif kind == "manifests":
            self._send(200, MANIFEST, self.server.manifest, body)
        elif kind == "blobs" and name in self.server.blobs:
            self._send(200, "application/octet-stream", self.server.blobs[name], body)
        elif self.path == "/v2/":
            self._send(200, "application/json", b"{}", body)
        else:
            self._send(404, "application/json", b'{"errors": [{"code": "MANIFEST_UNKNOWN"}]}', body)

    def _send(self, status: int, kind: str, content: bytes, body: bool) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        self.send_header("Docker-Content-Digest", _digest(content))
        self.end_headers()
        if body:
            self.wfile.write(content)

    def log_message(self, *_: Any) -> None:
        """Nothing is told."""


def _digest(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"
