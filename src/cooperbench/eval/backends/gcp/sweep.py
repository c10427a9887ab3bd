"""Removing what dead harnesses left: jobs nobody alive needs, and their objects."""

from __future__ import annotations

import logging

from cooperbench.errors import BackendError
from cooperbench.eval.backends.gcp import owner
from cooperbench.eval.backends.gcp.jobs import Jobs, prefix
from cooperbench.eval.backends.gcp.store import Store

log = logging.getLogger(__name__)


def sweep(jobs: Jobs, store: Store) -> list[str]:
    """Remove them; one line for each."""
    removed, ending = [], []
    for job in jobs.ours():
        job_id = str(job.name).rpartition("/")[2]
        if job.status.state.name == "DELETION_IN_PROGRESS" or not owner.left_behind(dict(job.labels)):
            continue
        try:
            ending.append(jobs.delete(job_id))
        except BackendError as problem:
            log.warning("%s", problem)
            continue
        whose = job.labels.get("run")
        removed.append(f"job {job_id} ({job.labels.get('kind')}{f', run {whose}' if whose else ''})")
    jobs.await_end(ending)
    for line in removed:
        store.remove(f"{prefix(line.split()[1])}/")
    return removed
