"""Removing what dead harnesses left: containers of ours whose owner is no more."""

from __future__ import annotations

import logging

from cooperbench.errors import BackendError
from cooperbench.eval.backends.docker import containers, owner
from cooperbench.eval.backends.docker.engine import Engine, complaints

log = logging.getLogger(__name__)


def sweep(engine: Engine) -> list[str]:
    """Remove them; one line for each."""
    with complaints(engine, "listing containers"):
        found = engine.api.containers(all=True, filters={"label": f"{owner.PRODUCT}=cooperbench"})
    removed = []
    for each in found:
        labels = each.get("Labels") or {}
        if not owner.left_behind(labels):
            continue
        try:
            containers.remove(engine, each["Id"])
        except BackendError as problem:
            log.warning("%s", problem)
            continue
        whose = " ".join(filter(None, (labels.get(f"{owner.PREFIX}{name}") for name in ("run", "trial"))))
        removed.append(f"container {each['Id'][:12]} of {each.get('Image')}{f' ({whose})' if whose else ''}")
    return removed
