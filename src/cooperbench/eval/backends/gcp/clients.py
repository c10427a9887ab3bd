"""The vendor's two client libraries, opened late and once for each backend; credentials are theirs to find."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any

from cooperbench.errors import MissingExtra, UsageError
from cooperbench.eval.backends.gcp.config import Settings, with_project
from cooperbench.eval.backends.gcp.trouble import complaints

_CONNECTIONS = 128
"""Kept open to Cloud Storage: threads that wait for answers each use one."""


@dataclass(frozen=True, slots=True)
class Clients:
    """Both clients and the settings with the project filled in."""

    batch: Any
    storage: Any
    settings: Settings
    pid: int
    """The process that opened them: neither library survives a fork."""

    def close(self) -> None:
        """Let go of every connection."""
        self.batch.transport.close()
        self.storage.close()


def connect(settings: Settings) -> Clients:
    """Open both clients; nothing is sent yet.

    Raises:
        MissingExtra: the client libraries are not installed. Unreachable: no credentials. UsageError: no project.
    """
    try:
        import google.auth
        from google.cloud import batch_v1
        from google.cloud.storage import Client
    except ImportError as problem:
        raise MissingExtra("backend 'gcp'", "gcp") from problem
    with complaints("looking for Google credentials"):
        project = google.auth.default()[1]
    if not settings.project_id:
        if not project:
            raise UsageError(
                "which Google Cloud project? set GOOGLE_CLOUD_PROJECT, or: cooperbench config gcp --project ID"
            )
        settings = with_project(settings, str(project))
    with complaints("opening the Google clients"):
        batch = batch_v1.BatchServiceClient(client_options=_endpoint(settings.batch_endpoint))
        store = Client(project=settings.project_id, client_options=_endpoint(settings.storage_endpoint))
    _fit(store)
    return Clients(batch, store, settings, os.getpid())


def _endpoint(address: str) -> dict[str, str] | None:
    return {"api_endpoint": address} if address else None


def _fit(store: Any) -> None:
    """Make the storage client one for many threads that look for objects which are mostly not there yet."""
    from requests.adapters import HTTPAdapter

    # For the sake of traces it would ask for the bucket, in a thread of its own, whenever an object is missing.
    store._bucket_metadata_cache = None
    for scheme in ("https://", "http://"):
        store._http.mount(scheme, HTTPAdapter(pool_connections=4, pool_maxsize=_CONNECTIONS))
