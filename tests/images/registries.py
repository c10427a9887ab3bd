"""Debian's registry on the loopback, and a way of putting things there that engines do not make."""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import json
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.docker.engines import missing

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"
_CONFIG = """version: 0.1
storage: {{filesystem: {{rootdirectory: {root}}}}}
http: {{addr: "127.0.0.1:{port}"}}
log: {{level: error, accesslog: {{disabled: true}}}}
"""


@contextlib.contextmanager
def debians(directory: Path) -> Iterator[str]:
    """The address of a registry that keeps its things in `directory`."""
    program = shutil.which("docker-registry")
    if program is None:
        missing("needs docker-registry: apt-get install docker-registry")
    config = directory / "registry.yml"
    for _ in range(5):  # another program may take the port in between
        with socket.create_server(("127.0.0.1", 0)) as probe:
            port = probe.getsockname()[1]
        config.write_text(_CONFIG.format(root=directory / "data", port=port))
        with (directory / "log").open("wb") as log:
            process = subprocess.Popen([program, "serve", config], stdout=log, stderr=log)
        try:
            if _answers(port, process):
                yield f"127.0.0.1:{port}"
                return
        finally:
            process.terminate()
            process.wait(60)
    pytest.fail(f"docker-registry does not start: {(directory / 'log').read_text()[-300:]}")


def _answers(port: int, process: subprocess.Popen[bytes]) -> bool:
    """Whether it is there at last; not when it has ended."""
    until = time.monotonic() + 120
    while process.poll() is None and time.monotonic() < until:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return True
        time.sleep(0.05)
    return False


class Repository:
    """One repository of a registry, written to."""

    def __init__(self, address: str, name: str) -> None:
        self._address = address
        self.name = name

    def _ask(self, method: str, path: str, body: bytes = b"", **headers: str) -> tuple[dict[str, str], bytes]:
        connection = http.client.HTTPConnection(self._address, timeout=60)
        try:
            connection.request(method, path, body or None, headers)
            answer = connection.getresponse()
            content = answer.read()
            assert answer.status < 300, (method, path, answer.status, content)
            return {name.lower(): value for name, value in answer.getheaders()}, content
        finally:
            connection.close()

    def manifest(self, tag: str) -> dict[str, Any]:
        """What is there under a tag."""
        accept = "application/vnd.docker.distribution.manifest.v2+json"
        found: dict[str, Any] = json.loads(
            self._ask("GET", f"/v2/{self.name}/manifests/{tag}", Accept=accept)[1]
        )
        return found

    def blob(self, digest: str) -> bytes:
        """A blob that is there."""
        return self._ask("GET", f"/v2/{self.name}/blobs/{digest}")[1]

    def put_blob(self, content: bytes, kind: str = "application/octet-stream") -> dict[str, Any]:
        """Put a blob there; its descriptor."""
        digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
        headers, _ = self._ask("POST", f"/v2/{self.name}/blobs/uploads/")
        place = headers["location"].partition(self._address)[2]
        joint = "&" if "?" in place else "?"
        self._ask(
            "PUT", f"{place}{joint}digest={digest}", content, **{"Content-Type": "application/octet-stream"}
        )
        return {"mediaType": kind, "digest": digest, "size": len(content)}

    def put_image(self, tag: str, config: dict[str, Any], layers: Sequence[dict[str, Any]]) -> dict[str, Any]:
        """Put an image there whose layers are there already; its descriptor."""
        described = self.put_blob(json.dumps(config).encode(), "application/vnd.oci.image.config.v1+json")
        return self.put_manifest(
            tag,
            {"schemaVersion": 2, "mediaType": MANIFEST, "config": described, "layers": list(layers)},
            MANIFEST,
        )

    def put_manifest(self, tag: str, value: dict[str, Any], kind: str) -> dict[str, Any]:
        """Put a manifest or index there; its descriptor."""
        content = json.dumps(value).encode()
        self._ask("PUT", f"/v2/{self.name}/manifests/{tag}", content, **{"Content-Type": kind})
        digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
        return {"mediaType": kind, "digest": digest, "size": len(content)}
