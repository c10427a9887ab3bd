"""A small batch on Google Cloud itself, where somebody asks for it; the contract's live row is in tests/contract."""

from __future__ import annotations

import os

import pytest

from cooperbench.eval.job import JobOutput
from tests.gcp import clouds
from tests.gcp.batches import done, wishes, work


@pytest.mark.live
@pytest.mark.timeout(3600)
def test_a_batch() -> None:
    with clouds.live() as backend:
        works = [work(number, image=os.environ[clouds.LIVE_IMAGE]) for number in range(4)]
        found = done(backend, works, wishes(2, tell=print))
    outputs = [found[each.key] for each in works]
    assert all(isinstance(each, JobOutput) for each in outputs), outputs
    assert [each.facts["number"] for each in outputs] == [b"0\n", b"1\n", b"2\n", b"3\n"]
