"""What a run and its trials may cost."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from cooperbench.budget import Budget
from cooperbench.errors import UsageError


def test_without_limits_it_only_counts() -> None:
    budget = Budget()
    budget.spend(1e9)
    assert budget.spent == 1e9
    assert not budget.exhausted


def test_the_run_is_over_when_it_has_spent_its_money_earlier_calls_included() -> None:
    budget = Budget(run=2.0, spent=1.5)
    assert not budget.exhausted
    budget.spend(0.5)
    assert budget.exhausted


def test_a_trial_pays_for_its_run_too_and_ends_alone() -> None:
    budget = Budget(run=10.0, trial=1.0)
    one, other = budget.purse(), budget.purse()
    one.spend(1.0)
    assert one.exhausted
    assert not other.exhausted
    assert budget.spent == 1.0
    assert not budget.exhausted


def test_nothing_is_lost_between_threads() -> None:
    budget = Budget()
    purses = [budget.purse() for _ in range(8)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda purse: [purse.spend(0.25) for _ in range(500)], purses))
    assert budget.spent == 1000.0


@pytest.mark.parametrize("amount", [0, -1, float("nan"), float("inf")])
def test_what_is_no_amount_is_refused(amount: float) -> None:
    with pytest.raises(UsageError, match="max_cost must be"):
        Budget(run=amount)
    with pytest.raises(UsageError, match="max_trial_cost must be"):
        Budget(trial=amount)
