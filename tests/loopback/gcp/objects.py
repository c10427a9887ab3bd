"""Buckets and objects: what Cloud Storage keeps, without the protocols it is asked in.

Sources: preconditions https://cloud.google.com/storage/docs/request-preconditions (generation 0: there is no live
object); listing https://cloud.google.com/storage/docs/json_api/v1/objects/list (at most 1000 a page, start inclusive,
end exclusive, names in byte order); compose: at most 32 components; names: at most 1024 bytes of UTF-8, no CR or LF.
"""

from __future__ import annotations

import base64
import datetime
import hashlib
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import google_crc32c

from tests.loopback.gcp.web import Refused

PAGE = 1000


@dataclass(frozen=True, slots=True)
class Precondition:
    """What must hold of the live object's generation; None: nothing."""

    match: int | None = None
    differ: int | None = None

    def check(self, generation: int) -> None:
        """Refuse unless it holds; 0 stands for no live object."""
        if self.match is not None and self.match != generation:
            raise Refused(412, "At least one of the pre-conditions you specified did not hold.")
        if self.differ is not None and self.differ == generation:
            raise Refused(412, "At least one of the pre-conditions you specified did not hold.")


ANY = Precondition()


@dataclass(frozen=True, slots=True)
class Blob:
    """One live object."""

    bucket: str
    name: str
    data: bytes
    generation: int
    metageneration: int = 1
    content_type: str = "application/octet-stream"
    metadata: Mapping[str, str] = field(default_factory=dict)
    created: float = field(default_factory=time.time)

    @property
    def crc32c(self) -> str:
        """Base64 of the big-endian checksum."""
        return base64.b64encode(google_crc32c.value(self.data).to_bytes(4, "big")).decode()

    @property
    def md5(self) -> str:
        """Base64 of the digest."""
        return base64.b64encode(hashlib.md5(self.data).digest()).decode()

    def resource(self) -> dict[str, Any]:
        """As the JSON API shows it."""
        when = datetime.datetime.fromtimestamp(self.created, datetime.UTC)
        stamp = f"{when:%Y-%m-%dT%H:%M:%S}.{when.microsecond // 1000:03d}Z"
        return {
            "kind": "storage#object",
            "id": f"{self.bucket}/{self.name}/{self.generation}",
            "name": self.name,
            "bucket": self.bucket,
            "generation": str(self.generation),
            "metageneration": str(self.metageneration),
            "size": str(len(self.data)),
            "contentType": self.content_type,
            "metadata": dict(self.metadata),
            "md5Hash": self.md5,
            "crc32c": self.crc32c,
            "etag": f"C{self.generation}",
            "timeCreated": stamp,
            "updated": stamp,
            "storageClass": "STANDARD",
        }


@dataclass(slots=True)
class Bucket:
    """One bucket: what was set on it, and its objects."""

    name: str
    settings: dict[str, Any]
    blobs: dict[str, Blob] = field(default_factory=dict)
    metageneration: int = 1
    created: float = field(default_factory=time.time)

    def resource(self) -> dict[str, Any]:
        """As the JSON API shows it."""
        return {
            "kind": "storage#bucket",
            "id": self.name,
            "name": self.name,
            "metageneration": str(self.metageneration),
            "storageClass": "STANDARD",
            **self.settings,
        }


@dataclass(frozen=True, slots=True)
class Listing:
    """One page."""

    blobs: Sequence[Blob]
    prefixes: Sequence[str]
    next_token: str


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a listing asks for."""

    prefix: str = ""
    delimiter: str = ""
    start: str = ""
    end: str = ""
    token: str = ""
    most: int = PAGE


class Store:
    """All buckets; every change is atomic."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._buckets: dict[str, Bucket] = {}
        self._generation = int(time.time() * 1e6)
        self.writes: Counter[tuple[str, str]] = Counter()
        """How often each name was written: the vendor allows one write a second to one name."""

    def create_bucket(self, name: str, settings: Mapping[str, Any]) -> Bucket:
        """A new bucket."""
        if not 3 <= len(name) <= 63 or not all(c.isdigit() or c.islower() or c in "-_." for c in name):
            raise Refused(400, f"Invalid bucket name: '{name}'")
        with self._lock:
            if name in self._buckets:
                raise Refused(
                    409, "Your previous request to create the named bucket succeeded and you already own it."
                )
            self._buckets[name] = Bucket(name, dict(settings))
            return self._buckets[name]

    def bucket(self, name: str) -> Bucket:
        """An existing bucket."""
        with self._lock:
            if name not in self._buckets:
                raise Refused(404, "The specified bucket does not exist.")
            return self._buckets[name]

    def patch_bucket(self, name: str, settings: Mapping[str, Any]) -> Bucket:
        """Change what is set on a bucket."""
        with self._lock:
            found = self.bucket(name)
            found.settings.update(settings)
            found.metageneration += 1
            return found

    def delete_bucket(self, name: str) -> None:
        """Remove an empty bucket."""
        with self._lock:
            if self.bucket(name).blobs:
                raise Refused(409, "The bucket you tried to delete is not empty.")
            del self._buckets[name]

    def put(self, blob: Blob, held: Precondition = ANY) -> Blob:
        """Write an object whole; its generation is given here."""
        size = len(blob.name.encode())
        if not 1 <= size <= 1024 or "\r" in blob.name or "\n" in blob.name:
            raise Refused(400, f"Invalid object name of {size} bytes")
        with self._lock:
            blobs = self.bucket(blob.bucket).blobs
            held.check(blobs[blob.name].generation if blob.name in blobs else 0)
            self._generation += 1
            blobs[blob.name] = replace(blob, generation=self._generation)
            self.writes[blob.bucket, blob.name] += 1
            return blobs[blob.name]

    def get(self, bucket: str, name: str, held: Precondition = ANY) -> Blob:
        """A live object."""
        with self._lock:
            blob = self.bucket(bucket).blobs.get(name)
        if blob is None:
            raise Refused(404, f"No such object: {bucket}/{name}")
        held.check(blob.generation)
        return blob

    def update(self, bucket: str, name: str, change: Callable[[Blob], Blob]) -> Blob:
        """Change an object's metadata."""
        with self._lock:
            blob = self.get(bucket, name)
            changed = replace(change(blob), metageneration=blob.metageneration + 1)
            self.bucket(bucket).blobs[name] = changed
            return changed

    def delete(self, bucket: str, name: str, held: Precondition = ANY) -> None:
        """Remove a live object."""
        with self._lock:
            self.get(bucket, name, held)
            del self.bucket(bucket).blobs[name]

    def page(self, bucket: str, wanted: Wanted) -> Listing:
        """One page of names in byte order."""
        with self._lock:
            blobs = dict(self.bucket(bucket).blobs)
        rows: list[Blob | str] = []
        for name in sorted(blobs, key=str.encode):
            if (
                not name.startswith(wanted.prefix)
                or name < wanted.start
                or (wanted.end and name >= wanted.end)
            ):
                continue
            rest = name[len(wanted.prefix) :]
            if not wanted.delimiter or wanted.delimiter not in rest:
                rows.append(blobs[name])
                continue
            folder = wanted.prefix + rest.partition(wanted.delimiter)[0] + wanted.delimiter
            if not rows or rows[-1] != folder:
                rows.append(folder)
        rows = [row for row in rows if _key(row) > wanted.token]
        page, more = rows[: wanted.most], len(rows) > wanted.most
        return Listing(
            [row for row in page if isinstance(row, Blob)],
            [row for row in page if isinstance(row, str)],
            _key(page[-1]) if more and page else "",
        )

    def names(self, bucket: str, prefix: str = "") -> list[str]:
        """All names, for tests."""
        with self._lock:
            return sorted(name for name in self.bucket(bucket).blobs if name.startswith(prefix))

    def age(self, bucket: str, days: float) -> list[str]:
        """Let time pass and the bucket's lifecycle rules do their work; the names that are gone."""
        now = time.time() + days * 86400
        with self._lock:
            found = self.bucket(bucket)
            rules = [
                r
                for r in found.settings.get("lifecycle", {}).get("rule", [])
                if r["action"]["type"] == "Delete"
            ]
            gone = [
                name for name, blob in found.blobs.items() if any(_expired(rule, blob, now) for rule in rules)
            ]
            for name in gone:
                del found.blobs[name]
        return sorted(gone)


def _key(row: Blob | str) -> str:
    return row if isinstance(row, str) else row.name


def _expired(rule: Mapping[str, Any], blob: Blob, now: float) -> bool:
    """All of a rule's conditions must hold: https://cloud.google.com/storage/docs/lifecycle#conditions."""
    condition = rule["condition"]
    if unknown := condition.keys() - {"age", "matchesPrefix"}:
        raise Refused(400, f"loopback server: lifecycle conditions {sorted(unknown)} are not served")
    old = now - blob.created >= condition.get("age", 0) * 86400
    return old and any(map(blob.name.startswith, condition.get("matchesPrefix", [""])))
