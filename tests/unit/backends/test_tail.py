"""What is kept of a long output is its end, whatever pieces it came in."""

from __future__ import annotations

import pytest

from cooperbench.eval.backends.tail import Tail


@pytest.mark.parametrize("size", [1, 2, 7, 1000])
@pytest.mark.parametrize("limit", [0, 1, 10, 5000])
def test_the_end_is_kept(size: int, limit: int) -> None:
    text = bytes(range(256)) * 8
    tail = Tail(limit)
    for start in range(0, len(text), size):
        tail.add(text[start : start + size])
    kept = tail.content()
    if limit >= len(text):
        assert (kept, tail.truncated) == (text, False)
    else:
        head, _, rest = kept.partition(b"\n")
        assert head == f"[cooperbench: {len(text)} bytes of output; only the last {limit} are kept]".encode()
        assert rest == text[len(text) - limit :]
