"""Two thousand judgements of nothing as one job: every outcome, and what they ask of the services."""

from __future__ import annotations

from collections import Counter

import pytest

from cooperbench.eval.backends.gcp import GCPBatchBackend
from tests.gcp.batches import done, wishes, work
from tests.gcp.test_batch import all_fine
from tests.loopback.gcp.cloud import Cloud

COUNT = 2000


@pytest.mark.scale
@pytest.mark.timeout(3600)
def test_two_thousand_in_one_job(cloud: Cloud, backend: GCPBatchBackend) -> None:
    all_fine(done(backend, [work(number) for number in range(COUNT)], wishes(2)), COUNT)
    asked = Counter(call.operation for call in cloud.traffic.calls if call.account == cloud.accounts.harness)
    print(f"{asked.total()} calls: {dict(asked)}")
    assert asked["batch.CreateJob"] == 1
    assert asked.total() <= 40 + asked["storage.objects.list"]
