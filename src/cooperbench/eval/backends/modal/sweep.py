"""Removing what dead harnesses left: sandboxes of ours, in our app, whose owner is no more."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from cooperbench.errors import BackendError
from cooperbench.eval.backends import owner
from cooperbench.eval.backends.modal.connection import Connection, Gone, complaints

log = logging.getLogger(__name__)


async def sweep(connection: Connection) -> list[str]:
    """End them; one line for each."""
    sdk, client = connection.sdk, connection.client
    removed = []
    with complaints("listing sandboxes"):
        found = [
            each
            async for each in sdk.Sandbox.list.aio(
                app_id=connection.app.app_id, tags={owner.PRODUCT: owner.US}, client=client
            )
        ]
    for handle in found:
        try:
            with complaints(f"looking at sandbox {handle.object_id}"):
                tags = await handle.get_tags.aio()
                if owner.left_behind(tags):
                    await handle.terminate.aio()
                    removed.append(_told(handle, tags))
        except Gone:
            continue  # by itself, meanwhile
        except BackendError as problem:
            log.warning("%s", problem)
    return removed


def _told(handle: Any, tags: Mapping[str, str]) -> str:
    whose = " ".join(filter(None, (tags.get(name) for name in ("run", "trial"))))
    return f"modal: sandbox {handle.object_id}{f' ({whose})' if whose else ''}"
