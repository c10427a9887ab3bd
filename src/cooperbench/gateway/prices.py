"""What tokens cost: the price table that comes with litellm, where that is installed, under a file of the user's own.

Both have the same shape: ``{"model": {"input_cost_per_token": 3e-06, "output_cost_per_token": …}}``, in US dollars.
litellm itself is not imported for it: that takes seconds, and it would go looking for a newer table on the network.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from cooperbench.errors import UsageError
from cooperbench.gateway.usage import Usage

_TABLE = "model_prices_and_context_window_backup.json"
_INPUT, _OUTPUT = "input_cost_per_token", "output_cost_per_token"
_READ, _WRITE = "cache_read_input_token_cost", "cache_creation_input_token_cost"
_LONG = (32_000, 100_000, 128_000, 200_000, 256_000, 272_000, 512_000)
"""Prompt sizes from which some models cost more: ``…_above_200k_tokens``."""


class Prices:
    """The prices of one run."""

    def __init__(self, own: Path | None = None, *, with_table: bool = True) -> None:
        """Prices from the table, under those of a file.

        Args:
            with_table: without it there is only the file: a server of one's own is not at the vendor's price.

        Raises:
            UsageError: the file cannot be read as prices.
        """
        self._tables = [_read(own)] if own is not None else []
        if with_table:
            self._tables.append(_installed())

    def known(self, model: str) -> bool:
        """Whether this model has a price."""
        return self._entry(model) is not None

    def cost(self, model: str, usage: Usage) -> float | None:
        """US dollars for this usage; None when nobody knows."""
        if usage.cost is not None:
            return usage.cost
        entry = self._entry(model)
        if entry is None:
            return None
        size = usage.input_tokens
        fresh = _price(entry, _INPUT, size)
        parts = (
            (usage.fresh_tokens, fresh),
            (usage.output_tokens, _price(entry, _OUTPUT, size)),
            (usage.cache_read_tokens, _price(entry, _READ, size, fresh)),
            (usage.cache_write_tokens, _price(entry, _WRITE, size, fresh)),
        )
        # Added in a way that does not depend on the order, and exact to the last digit.
        return math.fsum(count * price for count, price in parts)

    def _entry(self, model: str) -> Mapping[str, Any] | None:
        """Its line in either table, by its whole name or without the provider's."""
        names = (model, model.partition("/")[2], model.rpartition("/")[2])
        for table in self._tables:
            for name in filter(None, names):
                entry = table.get(name)
                if isinstance(entry, dict) and _is_price(entry.get(_INPUT)) and _is_price(entry.get(_OUTPUT)):
                    return entry
        return None


def _price(entry: Mapping[str, Any], key: str, size: int, default: float = 0.0) -> float:
    """A price for a prompt of this size."""
    found = entry.get(key, default)
    for limit in _LONG:
        longer = entry.get(f"{key}_above_{limit // 1000}k_tokens")
        if size > limit and _is_price(longer):
            found = longer
    return float(found) if _is_price(found) else default


def _is_price(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < math.inf


def _read(path: Path) -> Mapping[str, Any]:
    try:
        table = json.loads(path.read_text("utf-8"))
    except OSError as problem:
        raise UsageError(f"prices {path} cannot be read: {problem.strerror or problem}") from problem
    except (ValueError, RecursionError) as problem:
        raise UsageError(f"prices {path} are not JSON: {problem}") from problem
    if not isinstance(table, dict):
        raise UsageError(f"prices {path} are no table: expected {{MODEL: {{{_INPUT!r}: …, {_OUTPUT!r}: …}}}}")
    for model, entry in table.items():
        sound = isinstance(entry, dict) and _is_price(entry.get(_INPUT)) and _is_price(entry.get(_OUTPUT))
        if not sound:
            raise UsageError(f"prices {path}: {model} needs {_INPUT} and {_OUTPUT}, in US dollars")
    return table


@cache
def _installed() -> Mapping[str, Any]:
    """The table in the installed litellm; empty without it."""
    spec = find_spec("litellm")
    if spec is None or spec.origin is None:
        return {}
    try:
        table = json.loads(Path(spec.origin).with_name(_TABLE).read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return table if isinstance(table, dict) else {}
