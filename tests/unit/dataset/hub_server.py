"""A loopback server that speaks the endpoints of the Hub which its own client really uses for a snapshot."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

COMMIT = "0123456789abcdef0123456789abcdef01234567"


def git_hash(content: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


class Hub(ThreadingHTTPServer):
    """One dataset repository, kept in a directory."""

    daemon_threads = True

    def __init__(self, repository: str, root: Path) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.repository = repository
        self.root = root
        self.served: list[str] = []
        """Paths of the files whose content was asked for."""
        self.stall_after: int | None = None
        """Hold every connection once so many files were served; None serves them all."""
        self.stalled = threading.Event()
        self.released = threading.Event()
        self.damage: str | None = None
        """Path of a file to serve with wrong content of the right size."""
        self.tokens: set[str | None] = set()
        self.guard = threading.Lock()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A connection broken on purpose is not worth a traceback."""


class _Handler(BaseHTTPRequestHandler):
    server: Hub
    protocol_version = "HTTP/1.1"

    def log_message(self, *args: Any) -> None:
        """Say nothing."""

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        self.server.tokens.add(self.headers.get("Authorization"))
        path = unquote(urlsplit(self.path).path)
        api = f"/api/datasets/{self.server.repository}"
        files = f"/datasets/{self.server.repository}/resolve/{COMMIT}/"
        if path in (api, f"{api}/revision/main"):
            self._json({"id": self.server.repository, "sha": COMMIT, "siblings": []})
        elif path == f"{api}/tree/{COMMIT}":
            self._json(list(self._tree()))
        elif path.startswith(files):
            self._file(path.removeprefix(files))
        else:
            self._answer(404, b"", {"X-Error-Code": "RepoNotFound"})

    def _tree(self) -> Iterator[dict[str, Any]]:
        for path in sorted(self.server.root.rglob("*")):
            name = path.relative_to(self.server.root).as_posix()
            if path.is_dir():
                yield {"type": "directory", "path": name, "oid": "0" * 40}
                continue
            content = path.read_bytes()
            entry: dict[str, Any] = {
                "type": "file",
                "path": name,
                "size": len(content),
                "oid": git_hash(content),
            }
            if name.endswith(".bin"):
                entry["lfs"] = {
                    "oid": hashlib.sha256(content).hexdigest(),
                    "size": len(content),
                    "pointerSize": 1,
                }
            yield entry

    def _file(self, name: str) -> None:
        content = (self.server.root / name).read_bytes()
        headers = {"ETag": f'"{git_hash(content)}"', "X-Repo-Commit": COMMIT, "Accept-Ranges": "bytes"}
        if self.command == "GET":
            with self.server.guard:
                stall = (
                    self.server.stall_after is not None and len(self.server.served) >= self.server.stall_after
                )
                if not stall:
                    self.server.served.append(name)
            if stall:
                self.server.stalled.set()
                self.server.released.wait(60)
                self.close_connection = True
                return
            if name == self.server.damage:
                content = bytes(len(content))
        self._answer(200, content, headers)

    def _json(self, value: Any) -> None:
        self._answer(200, json.dumps(value).encode(), {"Content-Type": "application/json"})

    def _answer(self, status: int, content: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for key, value in {**headers, "Content-Length": str(len(content))}.items():
            self.send_header(key, value)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(content)


@contextmanager
def serve(repository: str, root: Path) -> Iterator[Hub]:
    """Serve `root` as `repository` as long as the block runs."""
    hub = Hub(repository, root)
    thread = threading.Thread(target=hub.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        hub.released.set()
        hub.shutdown()
        hub.server_close()
        thread.join()
