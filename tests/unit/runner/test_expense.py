"""What a sandbox has cost, whatever a backend says of it."""

from __future__ import annotations

from typing import Any

import pytest

from cooperbench.dataset.model import Pair
from cooperbench.eval.backends.base import Price
from cooperbench.eval.expense import Expense, expense, price_of
from cooperbench.eval.judging import Judging
from cooperbench.runner.expense import forecast
from cooperbench.runner.spec import RunSpec

PRICE = Price(3.6, "somebody's prices")


class Free:
    def create_sandbox(self, image: str, timeout: int = 600, workdir: str = "/workspace") -> Any:
        raise NotImplementedError


class Priced(Free):
    def __init__(self, price: Any = PRICE) -> None:
        self.said = price

    def price(self) -> Any:
        return self.said


class Metered:
    def __init__(self, said: Any) -> None:
        self.said = said

    def exec(self, *args: str) -> Any:
        raise NotImplementedError

    def terminate(self) -> None: ...

    def cost(self) -> Any:
        if isinstance(self.said, Exception):
            raise self.said
        return self.said


def test_the_greater_is_counted() -> None:
    assert Expense(2.0, 1.0).counted == Expense(1.0, 2.0).counted == Expense(None, 2.0).counted == 2.0
    assert Expense().counted == 0
    assert not Expense().known


def test_list_price_and_clock() -> None:
    assert expense(PRICE, 10) == Expense(None, pytest.approx(0.01))
    assert expense(None, 10) == Expense()


def test_the_vendors_figure() -> None:
    assert expense(PRICE, 0, Metered(0.5)) == Expense(0.5, 0.0)
    assert expense(None, 0, Metered(None)) == Expense()


@pytest.mark.parametrize("said", ["1", float("nan"), float("inf"), -1, RuntimeError("no\nfigures")])
def test_a_figure_that_is_none_is_unknown(said: Any) -> None:
    assert expense(None, 1, Metered(said)).vendor is None


@pytest.mark.parametrize("said", [None, 3.6, Price(float("nan"), "x")])
def test_a_price_that_is_none_is_unknown(said: Any) -> None:
    assert price_of(Priced(said)) is None
    assert price_of(Free()) is None
    assert price_of(Priced()) == PRICE


def test_a_forecast_is_an_upper_bound_for_whoever_pays() -> None:
    spec = RunSpec(
        run_name="r", setting="coop", agent="gold", model=None, judging=Judging(), agent_timeout=1800
    )
    pairs = [Pair("r", 1, (1, 2)), Pair("r", 1, (1, 3, 4))]
    line = forecast(Priced(), pairs, spec)
    assert line is not None
    assert "about $3.600 an hour, by somebody's prices: at most $9.00 for 5 agents" in line
    assert forecast(Priced(), [], spec) is None
    assert forecast(Free(), pairs, spec) is None
