"""Cloud Storage's JSON API, the part that its Python client speaks; what is not known is refused, never ignored."""

from __future__ import annotations

import re
import urllib.parse
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

from tests.loopback.gcp.objects import ANY, PAGE, Blob, Precondition, Store, Wanted
from tests.loopback.gcp.web import Operation, Refused, Reply, Request

_COMMON = {"alt", "fields", "prettyPrint", "projection", "userProject", "quotaUser", "generation"}
_CONDITIONS = {"ifGenerationMatch", "ifGenerationNotMatch"}
_LISTING = {"prefix", "delimiter", "startOffset", "endOffset", "maxResults", "pageToken"}
_CREATION = {"project", "location", "predefinedAcl", "enableObjectRetention"}
_BUCKET = re.compile(r"/storage/v1/b(?:/([^/]+))?")
_OBJECTS = re.compile(r"/storage/v1/b/([^/]+)/o")
_OBJECT = re.compile(r"/(?:download/)?storage/v1/b/([^/]+)/o/([^/]+)(/compose)?")
_PERMISSIONS = re.compile(r"/storage/v1/b/([^/]+)/iam/testPermissions")


class JsonApi:
    """Buckets and objects as JSON."""

    def __init__(self, store: Store, granted: Callable[[str], bool]) -> None:
        self._store = store
        self._granted = granted
        """Whether the harness's account has a permission."""

    def route(self, request: Request) -> Operation | None:
        """What a request asks for, if it is for this API."""
        if found := _OBJECTS.fullmatch(request.path):
            return self._objects(request, found[1])
        if found := _OBJECT.fullmatch(request.path):
            return self._object(request, found[1], urllib.parse.unquote(found[2]), bool(found[3]))
        if found := _BUCKET.fullmatch(request.path):
            return self._bucket(request, found[1] or "")
        if (found := _PERMISSIONS.fullmatch(request.path)) and request.method == "GET":
            return self._permissions(request, found[1])
        return None

    def _bucket(self, request: Request, name: str) -> Operation | None:
        store = self._store
        known(request.query, _COMMON | _CREATION)
        if request.method == "POST" and not name:
            body = request.json()
            settings = {"location": "US", **request.query, **body}
            settings = {k: v for k, v in settings.items() if k not in _COMMON | {"project", "name"}}
            made = str(body.get("name"))
            return _operation(
                "buckets.create", made, made, lambda: Reply.of(store.create_bucket(made, settings).resource())
            )
        if request.method == "GET" and name:
            return _operation("buckets.get", name, name, lambda: Reply.of(store.bucket(name).resource()))
        if request.method == "PATCH" and name:
            change = request.json()
            return _operation(
                "buckets.update", name, name, lambda: Reply.of(store.patch_bucket(name, change).resource())
            )
        if request.method == "DELETE" and name:
            return _operation("buckets.delete", name, name, lambda: _gone(store.delete_bucket(name)))
        return None

    def _permissions(self, request: Request, bucket: str) -> Operation:
        asked = request.repeated.get("permissions", [])

        def act() -> Reply:
            self._store.bucket(bucket)
            return Reply.of({"permissions": [each for each in asked if self._granted(each)]})

        return Operation("storage.testPermissions", bucket, act, "storage.buckets.get", bucket)

    def _objects(self, request: Request, bucket: str) -> Operation | None:
        if request.method != "GET":
            return None
        known(request.query, _COMMON | _LISTING)
        query = request.query
        wanted = Wanted(
            query.get("prefix", ""),
            query.get("delimiter", ""),
            query.get("startOffset", ""),
            query.get("endOffset", ""),
            query.get("pageToken", ""),
            min(int(query.get("maxResults", PAGE)), PAGE),
        )
        return _operation("objects.list", bucket, bucket, lambda: self._list(bucket, wanted))

    def _list(self, bucket: str, wanted: Wanted) -> Reply:
        page = self._store.page(bucket, wanted)
        body: dict[str, Any] = {"kind": "storage#objects"}
        if page.blobs:
            body["items"] = [blob.resource() for blob in page.blobs]
        if page.prefixes:
            body["prefixes"] = list(page.prefixes)
        if page.next_token:
            body["nextPageToken"] = page.next_token
        return Reply.of(body)

    def _object(self, request: Request, bucket: str, name: str, compose: bool) -> Operation | None:
        known(request.query, _COMMON | _CONDITIONS)
        held, store = condition(request.query), self._store
        if compose:
            body = request.json()
            act = partial(self._compose, bucket, name, body, held)
            return _operation("objects.create", bucket, name, act) if request.method == "POST" else None
        if request.method == "GET" and request.query.get("alt") == "media":
            return _operation(
                "objects.get", bucket, name, lambda: media(store.get(bucket, name, held), request)
            )
        if request.method == "GET":
            return _operation(
                "objects.get", bucket, name, lambda: Reply.of(store.get(bucket, name, held).resource())
            )
        if request.method == "PATCH":
            change = request.json()
            return _operation("objects.update", bucket, name, lambda: self._update(bucket, name, change))
        if request.method == "DELETE":
            return _operation("objects.delete", bucket, name, lambda: _gone(store.delete(bucket, name, held)))
        return None

    def _compose(self, bucket: str, name: str, body: Mapping[str, Any], held: Precondition) -> Reply:
        parts = [str(each["name"]) for each in body.get("sourceObjects", [])]
        if not 1 <= len(parts) <= 32:
            raise Refused(400, f"The number of source components ({len(parts)}) must be between 1 and 32.")
        data = b"".join(self._store.get(bucket, part).data for part in parts)
        kind = str(body.get("destination", {}).get("contentType", "application/octet-stream"))
        return Reply.of(self._store.put(Blob(bucket, name, data, 0, content_type=kind), held).resource())

    def _update(self, bucket: str, name: str, change: Mapping[str, Any]) -> Reply:
        def changed(blob: Blob) -> Blob:
            return replace(
                blob,
                content_type=change.get("contentType", blob.content_type),
                metadata=change.get("metadata", blob.metadata) or {},
            )

        return Reply.of(self._store.update(bucket, name, changed).resource())


def known(query: Mapping[str, str], names: set[str]) -> None:
    """Refuse what is not served: a server that ignores a parameter hides what was meant by it."""
    if unknown := query.keys() - names:
        raise Refused(400, f"loopback server: query parameters {sorted(unknown)} are not served")


def condition(query: Mapping[str, str]) -> Precondition:
    """The preconditions of a request."""
    match, differ = (query.get(name) for name in ("ifGenerationMatch", "ifGenerationNotMatch"))
    if match is None and differ is None:
        return ANY
    return Precondition(None if match is None else int(match), None if differ is None else int(differ))


def media(blob: Blob, request: Request) -> Reply:
    """An object's bytes, or the range of them asked for."""
    headers = {
        "x-goog-hash": f"crc32c={blob.crc32c},md5={blob.md5}",
        "x-goog-generation": str(blob.generation),
        "x-goog-stored-content-length": str(len(blob.data)),
        "x-goog-stored-content-encoding": "identity",
        "ETag": f'"C{blob.generation}"',
    }
    asked = re.fullmatch(r"bytes=(\d*)-(\d*)", request.headers.get("range", ""))
    if not asked:
        return Reply(200, blob.data, blob.content_type, headers)
    size = len(blob.data)
    start = int(asked[1]) if asked[1] else max(0, size - int(asked[2] or 0))
    end = min(int(asked[2]), size - 1) if asked[1] and asked[2] else size - 1
    if start >= size or end < start:
        return Reply(416, b"", "text/plain", {"Content-Range": f"bytes */{size}"})
    headers["Content-Range"] = f"bytes {start}-{end}/{size}"
    return Reply(206, blob.data[start : end + 1], blob.content_type, headers)


def _operation(verb: str, bucket: str, subject: str, act: Callable[[], Reply]) -> Operation:
    return Operation(f"storage.{verb}", subject, act, f"storage.{verb}", bucket)


def _gone(_: None) -> Reply:
    return Reply(204)
