"""Fixtures: a loopback cloud and the vendor's clients, made as a program in production makes them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from google.cloud import batch_v1, storage

from tests.loopback.gcp import loopback
from tests.loopback.gcp.cloud import BUCKET, Cloud


@pytest.fixture(scope="module", name="only_cloud")
def _only_cloud() -> Iterator[Cloud]:
    with loopback(bridge="none") as cloud:
        yield cloud


@pytest.fixture
def cloud(only_cloud: Cloud) -> Iterator[Cloud]:
    """With nothing recorded, nothing about to go wrong, an empty bucket; nothing unknown was asked of it."""
    only_cloud.traffic.forget()
    yield only_cloud
    assert only_cloud.traffic.unknown == []
    only_cloud.traffic.forget()
    only_cloud.accounts.denied.clear()
    only_cloud.zone.give_quota()
    for name in only_cloud.store.names(BUCKET):
        only_cloud.store.delete(BUCKET, name)


@pytest.fixture(scope="module")
def client(only_cloud: Cloud) -> Iterator[storage.Client]:
    endpoint = only_cloud.environment["COOPERBENCH_GCP_STORAGE_ENDPOINT"]
    with storage.Client(client_options={"api_endpoint": endpoint}) as made:
        yield made


@pytest.fixture
def bucket(cloud: Cloud, client: storage.Client) -> storage.Bucket:
    del cloud  # which is to be in order first
    return client.bucket(BUCKET)


@pytest.fixture(scope="module")
def batch(only_cloud: Cloud) -> Iterator[batch_v1.BatchServiceClient]:
    endpoint = only_cloud.environment["COOPERBENCH_GCP_BATCH_ENDPOINT"]
    with batch_v1.BatchServiceClient(client_options={"api_endpoint": endpoint}) as made:
        yield made
