"""Cloud Storage's XML API as curl on a VM uses it (GET, PUT, HEAD, DELETE of objects), and the JSON API's batches.

Sources: https://cloud.google.com/storage/docs/xml-api/reference-headers (x-goog-if-generation-match);
https://cloud.google.com/storage/docs/batch (at most 100 calls in one request).
"""

from __future__ import annotations

import re
import urllib.parse
from collections.abc import Callable
from functools import partial

from tests.loopback.gcp.objects import ANY, Blob, Precondition, Store
from tests.loopback.gcp.storage_json import media
from tests.loopback.gcp.web import Operation, Refused, Reply, Request

_OBJECT = re.compile(
    r"/(?!storage/|upload/|batch/|download/|resumable/|v1/|compute/|token$)([a-z0-9][^/]+)/(.+)"
)
MOST_IN_BATCH = 100


class XmlApi:
    """Objects as plain HTTP resources."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def route(self, request: Request) -> Operation | None:
        """What a request asks for, if it is for this API."""
        found = _OBJECT.fullmatch(request.path)
        if not found:
            return None
        if request.query:
            raise Refused(400, f"loopback server: sub-resources {sorted(request.query)} are not served")
        bucket, name = found[1], urllib.parse.unquote(found[2])
        wanted = request.headers.get("x-goog-if-generation-match")
        held = ANY if wanted is None else Precondition(int(wanted))
        acts: dict[str, tuple[str, Callable[[], Reply]]] = {
            "GET": ("get", lambda: media(self._store.get(bucket, name, held), request)),
            "HEAD": ("get", lambda: media(self._store.get(bucket, name, held), request)),
            "PUT": ("create", lambda: self._put(bucket, name, held, request)),
            "DELETE": ("delete", lambda: self._delete(bucket, name, held)),
        }
        if request.method not in acts:
            return None
        verb, act = acts[request.method]
        permission = f"storage.objects.{verb}"
        return Operation(permission, name, lambda: _as_xml(act), permission, bucket)

    def _put(self, bucket: str, name: str, held: Precondition, request: Request) -> Reply:
        kind = request.headers.get("content-type", "application/octet-stream")
        blob = self._store.put(Blob(bucket, name, request.body, 0, content_type=kind), held)
        return Reply(200, headers={"x-goog-generation": str(blob.generation), "ETag": f'"{blob.md5}"'})

    def _delete(self, bucket: str, name: str, held: Precondition) -> Reply:
        self._store.delete(bucket, name, held)
        return Reply(204)


def _as_xml(act: Callable[[], Reply]) -> Reply:
    codes = {404: "NoSuchKey", 412: "PreconditionFailed", 400: "InvalidArgument"}
    try:
        return act()
    except Refused as refusal:
        code = codes.get(refusal.status, "InternalError")
        text = f"<?xml version='1.0' encoding='UTF-8'?><Error><Code>{code}</Code><Message>{refusal}</Message></Error>"
        return Reply(refusal.status, text.encode(), "application/xml; charset=UTF-8")


class Batches:
    """Many calls of the JSON API in one request: ``multipart/mixed`` of HTTP requests."""

    def __init__(self, route: Callable[[Request], Operation | None]) -> None:
        self._route = route

    def route(self, request: Request) -> Operation | None:
        """What a request asks for, if it is a batch."""
        if request.path != "/batch/storage/v1" or request.method != "POST":
            return None
        parts = _requests(request)
        if not 1 <= len(parts) <= MOST_IN_BATCH:
            raise Refused(400, f"The batch request has {len(parts)} calls; the maximum is {MOST_IN_BATCH}.")
        asked = [(number, self._route(part)) for number, part in parts]
        if any(operation is None for _, operation in asked):
            raise Refused(400, "loopback server: a call of the batch is not served")
        bucket = {operation.bucket for _, operation in asked if operation}
        permissions = {operation.permission for _, operation in asked if operation}
        if len(bucket) != 1 or len(permissions) != 1:
            raise Refused(400, "loopback server: a batch does one thing in one bucket")
        act = partial(_answers, [(number, operation.act) for number, operation in asked if operation])
        return Operation("storage.batch", str(len(parts)), act, permissions.pop(), bucket.pop())


def _requests(request: Request) -> list[tuple[str, Request]]:
    boundary = re.search(r'boundary="?([^";]+)', request.headers.get("content-type", ""))
    if not boundary:
        raise Refused(400, "Failed to parse batch request: no boundary")
    found = []
    for piece in request.body.split(b"--" + boundary[1].encode())[1:-1]:
        head, _, inner = piece.lstrip(b"\r\n").replace(b"\r\n", b"\n").partition(b"\n\n")
        number = re.search(rb"(?im)^content-id:\s*<([^>]*)>", head)
        line, _, rest = inner.partition(b"\n")
        words = line.decode().split()
        address = urllib.parse.urlsplit(words[1])
        query = dict(urllib.parse.parse_qsl(address.query))
        body = rest.partition(b"\n\n")[2].strip()
        found.append((number[1].decode() if number else "", Request(words[0], address.path, query, {}, body)))
    return found


def _answers(acts: list[tuple[str, Callable[[], Reply]]]) -> Reply:
    boundary, body = "batch_loopback", b""
    for number, act in acts:
        try:
            reply = act()
        except Refused as refusal:
            reply = refusal.reply()
        body += (
            (
                f"--{boundary}\r\nContent-Type: application/http\r\nContent-ID: <response-{number}>\r\n\r\n"
                f"HTTP/1.1 {reply.status} -\r\nContent-Type: {reply.content_type}\r\n"
                f"Content-Length: {len(reply.body)}\r\n\r\n"
            ).encode()
            + reply.body
            + b"\r\n"
        )
    return Reply(200, body + f"--{boundary}--".encode(), f'multipart/mixed; boundary="{boundary}"')
