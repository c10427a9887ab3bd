"""Many judgements of nothing as one job: every outcome, and what they ask of the services, however long they take."""

from __future__ import annotations

from collections import Counter

import pytest

from cooperbench.eval.backends.gcp import GCPBatchBackend
from cooperbench.eval.backends.gcp.batch import running
from tests.gcp.batches import done, wishes, work
from tests.gcp.test_batch import all_fine
from tests.loopback.gcp.cloud import Cloud

BOUND = 40
"""Calls beside the pages of listings."""


def judge(count: int, cloud: Cloud, backend: GCPBatchBackend) -> Counter[str]:
    """What that many judgements on two slots asked for."""
    all_fine(done(backend, [work(number) for number in range(count)], wishes(2)), count)
    asked = Counter(call.operation for call in cloud.traffic.calls if call.account == cloud.accounts.harness)
    print(f"{asked.total()} calls: {dict(asked)}")
    assert asked["batch.CreateJob"] == 1
    assert asked.total() <= BOUND + asked["storage.objects.list"]
    return asked


def test_three_hundred_as_if_each_took_for_ever(
    cloud: Cloud, backend: GCPBatchBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No time is too short to write outcomes after: as it is where every judgement outlasts all times there are."""
    monkeypatch.setattr(running, "_FLUSH", 0)
    asked = judge(300, cloud, backend)
    slots, chunks = 2, 6
    assert asked["storage.objects.get"] == slots + chunks * 3, "not one for each outcome"


@pytest.mark.scale
@pytest.mark.timeout(3600)
def test_two_thousand_in_one_job(cloud: Cloud, backend: GCPBatchBackend) -> None:
    judge(2000, cloud, backend)
