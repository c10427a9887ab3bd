"""What is kept of a command's output, and its settings."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cooperbench.eval.backends.local.command import Tail
from cooperbench.eval.backends.local.config import Settings


@given(st.lists(st.binary(max_size=50), max_size=20), st.integers(1, 200))
def test_the_tail_is_kept_and_the_head_says_so(chunks: list[bytes], limit: int) -> None:
    tail, whole = Tail(limit), b"".join(chunks)
    for chunk in chunks:
        tail.add(chunk)
    assert tail.total == len(whole)
    assert tail.truncated == (len(whole) > limit)
    if not tail.truncated:
        assert tail.content() == whole
        return
    head, _, kept = tail.content().partition(b"\n")
    assert kept == whole[-limit:]
    assert str(len(whole)).encode() in head


def test_memory_stays_bounded() -> None:
    tail = Tail(1000)
    for _ in range(1000):
        tail.add(b"x" * 300)
    assert len(tail._kept) <= 2000
    for _ in range(10_000):
        tail.add(b"x")
    assert len(tail._kept) <= 2000


@pytest.mark.parametrize(
    ("upper", "in_memory", "size"),
    [("disk", False, "2g"), ("tmpfs", True, "2g"), ("tmpfs:512m", True, "512m")],
)
def test_where_writes_go(upper: str, in_memory: bool, size: str) -> None:
    settings = Settings(upper=upper)
    assert (settings.in_memory, settings.memory_disk) == (in_memory, size)
