"""Fixtures: one loopback cloud for the tests of a file, and the backend on it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from cooperbench.eval.backends.gcp import GCPBatchBackend
from cooperbench.runs import RunDirectory
from tests.gcp import clouds, trials
from tests.loopback.gcp.cloud import BUCKET, Cloud


@pytest.fixture(scope="module", name="only_cloud")
def _only_cloud() -> Iterator[Cloud]:
    with clouds.cloud() as made:
        yield made


@pytest.fixture
def cloud(only_cloud: Cloud) -> Iterator[Cloud]:
    """With nothing recorded and nothing about to go wrong; nothing is left on it, nothing unknown was asked of it."""
    only_cloud.traffic.forget()
    yield only_cloud
    unknown = list(only_cloud.traffic.unknown)
    left = only_cloud.batch.records()
    for record in left:
        only_cloud.delete_job(record.name)
    only_cloud.traffic.forget()
    only_cloud.zone.give_quota()
    only_cloud.accounts.denied.clear()
    for name in only_cloud.store.names(BUCKET):
        only_cloud.store.delete(BUCKET, name)
    assert unknown == []
    assert [record.name for record in left] == []


@pytest.fixture
def backend(cloud: Cloud) -> Iterator[GCPBatchBackend]:
    """As anybody gets it; closed afterwards."""
    with clouds.backend_on(cloud) as made:
        yield made


@pytest.fixture
def run(tmp_path: Path, cloud: Cloud) -> RunDirectory:
    """See `trials.handed_in`."""
    return trials.handed_in(tmp_path, cloud)
