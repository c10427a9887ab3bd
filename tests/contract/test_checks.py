"""Every clause of the contract, on every backend there is."""

from __future__ import annotations

import contextlib

import pytest

from cooperbench.eval.backends.checks import CHECKS, Check, Subject, examine
from tests.contract.conftest import Held
from tests.docker import engines


@pytest.mark.parametrize("check", CHECKS, ids=[check.name for check in CHECKS])
def test_contract(held: Held, check: Check) -> None:
    given = held.candidate
    # Under the ten seconds of grace that an engine which waits for them would take.
    subject = Subject(held.backend, given.image, kill=given.kill, configured=given.configured, patience=9)
    alone = engines.swept_by_nobody_else() if check.name == "nothing-left" else contextlib.nullcontext()
    with alone:
        result = examine(check, subject, held.candidate.gaps.get(check.name))
    if result.outcome in ("skipped", "known gap"):
        pytest.skip(f"{result.outcome}: {result.message}")
    assert result.outcome == "kept", f"{check.meaning}\n{result.message}"
