"""Objects in the bucket. Every one of ours is written once and never again, so that what is there is the truth."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from functools import partial
from typing import IO, Any

from cooperbench.errors import BackendError
from cooperbench.eval.backends.gcp.clients import Clients
from cooperbench.eval.backends.gcp.trouble import Refused, complaints, patiently

log = logging.getLogger(__name__)

PREFIX = "cooperbench/"
"""What every object of ours begins with."""

_KEPT_DAYS = 7
"""After which the bucket itself removes what nobody else has."""

_TOGETHER = 100
"""Deletions in one call, the vendor's limit."""

_FORBIDDEN, _MISSING, _EXISTS = 403, 404, 412
_SECONDS = 60


class Store:
    """The bucket. Safe to use from any thread."""

    def __init__(self, clients: Clients) -> None:
        self._client = clients.storage
        self._settings = clients.settings
        self._bucket = clients.storage.bucket(clients.settings.bucket)

    @property
    def bucket(self) -> str:
        """The bucket's name."""
        return str(self._bucket.name)

    def make_ready(self) -> None:
        """See that the bucket is there and cleans up after us; it is made when it is missing.

        Raises:
            BackendError: it is not there and cannot be made.
        """
        try:
            found = self.look() or self._make()
        except Refused as refused:
            if refused.status != _FORBIDDEN:
                raise
            # Who may use the objects of a bucket need not be allowed to look at it.
            log.debug("bucket %s cannot be looked at: %s", self.bucket, refused)
            return
        if not self.expires(found):
            self._expire(found)

    def look(self) -> Any | None:
        """The bucket as the vendor describes it; None when there is none."""
        try:
            with complaints(f"looking at bucket {self.bucket}"):
                return self._client.get_bucket(self.bucket)
        except Refused as refused:
            if refused.status != _MISSING:
                raise
            return None

    def expires(self, bucket: Any) -> bool:
        """Whether a bucket removes by itself what a killed harness left."""
        return any(_is_ours(rule) for rule in bucket.lifecycle_rules)

    def _make(self) -> Any:
        from google.cloud.storage import Bucket

        bucket = Bucket(self._client, self.bucket)
        bucket.iam_configuration.uniform_bucket_level_access_enabled = True
        try:
            with complaints(f"making bucket {self.bucket}"):
                return self._client.create_bucket(bucket, location=self._settings.region)
        except Refused as refused:
            if refused.status != 409:
                raise BackendError(
                    f"{refused}; or make it yourself: gcloud storage buckets create gs://{self.bucket} "
                    f"--location={self._settings.region} --uniform-bucket-level-access"
                ) from refused
        return self.look()  # another process was faster

    def _expire(self, bucket: Any) -> None:
        bucket.add_lifecycle_delete_rule(age=_KEPT_DAYS, matches_prefix=[PREFIX])
        try:
            with complaints(f"setting the lifecycle of bucket {self.bucket}"):
                bucket.patch()
        except Refused as refused:
            log.warning("objects a killed run leaves in the bucket will stay there: %s", refused)

    # ------------------------------------------------------------------------------------------ objects

    def create(self, name: str, content: bytes) -> bool:
        """Write an object unless there is one; whether it was written now."""
        return self._created(name, lambda blob: blob.upload_from_string(content, **_once()))

    def create_from(self, name: str, file: IO[bytes], size: int) -> bool:
        """The same with a file's content, from where the file stands."""
        return self._created(name, lambda blob: blob.upload_from_file(file, size=size, **_once()))

    def _created(self, name: str, write: Any) -> bool:
        try:
            with complaints(f"writing {name} to bucket {self.bucket}"):
                write(self._bucket.blob(name))
        except Refused as refused:
            if refused.status != _EXISTS:
                raise
            return False
        return True

    def read(self, name: str) -> bytes | None:
        """An object's content; None when there is none."""

        def ask() -> bytes:
            with complaints(f"reading {name} of bucket {self.bucket}"):
                # Repeated here: the library drops the answers it repeats after, and their connections with them.
                return bytes(self._bucket.blob(name).download_as_bytes(timeout=_SECONDS, retry=None))

        try:
            return patiently(ask)
        except Refused as refused:
            if refused.status != _MISSING:
                raise
            return None

    def names(self, prefix: str, after: str = "") -> list[str]:
        """The names below `prefix`, ordered, from `after` on; one call for each thousand."""
        with complaints(f"listing {prefix} of bucket {self.bucket}"):
            found = self._client.list_blobs(
                self._bucket,
                prefix=prefix,
                start_offset=after or None,
                fields="items(name),nextPageToken",
                timeout=_SECONDS,
            )
            return [str(blob.name) for blob in found]

    def remove(self, prefix: str) -> int:
        """Delete everything below `prefix`; how much that was."""
        names = self.names(prefix)
        for some in _groups(names, _TOGETHER):
            patiently(partial(self._remove_some, some, prefix))
        return len(names)

    def _remove_some(self, names: list[str], prefix: str) -> None:
        """In one call, which may be repeated: what is gone already is fine."""
        with (
            complaints(f"removing {prefix} from bucket {self.bucket}"),
            self._client.batch(raise_exception=False),
        ):
            for name in names:
                self._bucket.blob(name).delete()


def _once() -> dict[str, Any]:
    """Only if there is no such object; that also makes the client library's own retries safe."""
    return {"content_type": "application/octet-stream", "if_generation_match": 0, "timeout": _SECONDS}


def _is_ours(rule: Any) -> bool:
    condition = rule.get("condition") or {}
    return (rule.get("action") or {}).get("type") == "Delete" and condition.get("matchesPrefix") == [PREFIX]


def _groups(names: list[str], size: int) -> Iterator[list[str]]:
    for start in range(0, len(names), size):
        yield names[start : start + size]
