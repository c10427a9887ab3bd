"""How objects come in: in one request (media), with their metadata (multipart), or in pieces (resumable).

Source: https://cloud.google.com/storage/docs/uploads-downloads; pieces but the last are multiples of 256 KiB.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from tests.loopback.gcp.objects import Blob, Precondition, Store
from tests.loopback.gcp.storage_json import condition, known
from tests.loopback.gcp.web import Operation, Refused, Reply, Request

_UPLOAD = re.compile(r"/(?:resumable/)?upload/storage/v1/b/([^/]+)/o")
_QUERY = {
    "uploadType",
    "name",
    "upload_id",
    "ifGenerationMatch",
    "ifGenerationNotMatch",
    "prettyPrint",
    "fields",
}
PIECE = 256 * 1024


@dataclass(slots=True)
class _Session:
    """An upload in pieces."""

    blob: Blob
    held: Precondition
    content: bytearray = field(default_factory=bytearray)
    checks: Mapping[str, Any] = field(default_factory=dict)


class Uploads:
    """The upload endpoints of the JSON API."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._sessions: dict[str, _Session] = {}

    def route(self, request: Request) -> Operation | None:
        """What a request asks for, if it is an upload."""
        found = _UPLOAD.fullmatch(request.path)
        if not found or request.method not in ("POST", "PUT"):
            return None
        known(request.query, _QUERY)
        bucket = found[1]
        if "upload_id" in request.query:
            session = self._sessions.get(request.query["upload_id"])
            if session is None:
                raise Refused(404, "no such upload session")
            name = session.blob.name
            return self._operation(
                bucket, name, "storage.objects.piece", lambda: self._piece(session, request)
            )
        kind = request.query.get("uploadType")
        if kind == "multipart":
            meta, data, content_type = _parts(request)
        elif kind == "media":
            meta, data, content_type = {}, request.body, request.headers.get("content-type", "")
        elif kind == "resumable":
            meta, data = request.json(), b""
            content_type = request.headers.get("x-upload-content-type", "")
        else:
            raise Refused(400, f"unknown uploadType {kind!r}")
        blob = _blob(bucket, request.query.get("name") or meta.get("name"), data, meta, content_type)
        held = condition(request.query)
        if kind == "resumable":
            host = request.headers["host"]
            return self._operation(
                bucket, blob.name, "storage.objects.begin", lambda: self._begin(blob, held, meta, host)
            )
        return self._operation(
            bucket, blob.name, "storage.objects.create", lambda: self._store_it(blob, held, meta)
        )

    @staticmethod
    def _operation(bucket: str, name: str, operation: str, act: Any) -> Operation:
        return Operation(operation, name, act, "storage.objects.create", bucket)

    def _begin(self, blob: Blob, held: Precondition, meta: Mapping[str, Any], host: str) -> Reply:
        self._store.bucket(blob.bucket)
        number = uuid.uuid4().hex
        self._sessions[number] = _Session(blob, held, checks=meta)
        path = f"/upload/storage/v1/b/{blob.bucket}/o?uploadType=resumable&upload_id={number}"
        return Reply(200, headers={"Location": f"http://{host}{path}"})

    def _piece(self, session: _Session, request: Request) -> Reply:
        said = request.headers.get("content-range", "")
        span = re.fullmatch(r"bytes (?:(\d+)-(\d+)|\*)/(\d+|\*)", said)
        if said and not span:
            raise Refused(400, f"Content-Range {said!r}")
        if span is None or span[1] is not None:
            start = int(span[1]) if span else 0
            if start > len(session.content):
                raise Refused(503, f"piece starts at {start}, not at {len(session.content)}")
            del session.content[start:]  # a piece sent again replaces what came of it
            session.content += request.body
        total = span[3] if span else str(len(session.content))
        if total == "*" or len(session.content) < int(total):
            if total == "*" and len(request.body) % PIECE:
                raise Refused(400, f"pieces but the last are multiples of {PIECE} bytes")
            kept = {"Range": f"bytes=0-{len(session.content) - 1}"} if session.content else {}
            return Reply(308, headers=kept)
        blob = session.blob
        made = Blob(blob.bucket, blob.name, bytes(session.content), 0, 1, blob.content_type, blob.metadata)
        return self._store_it(made, session.held, session.checks)

    def _store_it(self, blob: Blob, held: Precondition, meta: Mapping[str, Any]) -> Reply:
        for name, value in (("crc32c", blob.crc32c), ("md5Hash", blob.md5)):
            if meta.get(name, value) != value:
                raise Refused(
                    400, f'Provided {name} "{meta[name]}" doesn\'t match calculated {name} "{value}".'
                )
        return Reply.of(self._store.put(blob, held).resource())


def _blob(bucket: str, name: object, data: bytes, meta: Mapping[str, Any], content_type: str) -> Blob:
    if not isinstance(name, str):
        raise Refused(400, "Required object name")
    kind = str(meta.get("contentType") or content_type or "application/octet-stream")
    return Blob(bucket, name, data, 0, content_type=kind, metadata=meta.get("metadata") or {})


def _parts(request: Request) -> tuple[dict[str, Any], bytes, str]:
    """The JSON part and the bytes of a multipart/related body (RFC 2387, lines end in CRLF)."""
    boundary = re.search(r'boundary="?([^";]+)', request.headers.get("content-type", ""))
    if not boundary:
        raise Refused(400, "multipart without boundary")
    pieces = (b"\r\n" + request.body).split(b"\r\n--" + boundary[1].encode())
    if len(pieces) != 4 or not pieces[3].startswith(b"--"):
        raise Refused(400, f"a multipart upload has 2 parts, not {len(pieces) - 2}")
    first, second = (piece.removeprefix(b"\r\n").partition(b"\r\n\r\n") for piece in pieces[1:3])
    kind = re.search(rb"(?im)^content-type:\s*([^\r\n]+)", second[0])
    meta = Request("", "", {}, {}, first[2]).json()
    return meta, second[2], kind[1].decode() if kind else ""
