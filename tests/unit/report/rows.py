"""Strategies for rows, and JSON values nobody expects."""

from __future__ import annotations

from hypothesis import strategies as st

from cooperbench.report.rows import TrialRow

HOSTILE = "\x1b[2J[red]x[/red]\u202e\r\n:smile:{}"

names = st.one_of(st.text(max_size=12), st.just(HOSTILE))

rows = st.builds(
    TrialRow,
    repo=names,
    task_id=st.integers(0, 3),
    features=st.tuples(st.integers(1, 9), st.integers(1, 9)),
    setting=st.sampled_from(["coop", "solo"]),
    outcome=st.sampled_from(["passed", "failed", "error", "pending"]),
    merge=st.none() | names | st.sampled_from(["clean", "conflicts"]),
    conflicts=st.lists(names, max_size=2).map(tuple),
    unapplied=st.lists(names, max_size=2).map(tuple),
    integrity=st.integers(0, 3),
    messages=st.none() | st.integers(0, 9),
    cost=st.none() | st.floats(0, 1e6),
    seconds=st.none() | st.floats(0, 1e9),
    reason=st.none() | names,
    error=st.none() | names,
)

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(codec=None), max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=8,
)


def objects(keys: list[str]) -> st.SearchStrategy[dict]:
    """Objects with some of these keys, holding anything."""
    return st.dictionaries(st.sampled_from(keys), json_values, max_size=len(keys))
