"""What a run's agents may cost, told before it begins."""

from __future__ import annotations

from collections.abc import Sequence

from cooperbench.dataset.model import Pair
from cooperbench.eval.backends.base import EvalBackend
from cooperbench.eval.expense import price_of
from cooperbench.runner.spec import RunSpec


def forecast(backend: EvalBackend, pairs: Sequence[Pair], spec: RunSpec) -> str | None:
    """What the agents' sandboxes of some trials may cost, in a line for people; None where nothing can be said."""
    price = price_of(backend)
    if price is None or not pairs:
        return None
    agents = sum(1 if spec.setting == "solo" else len(pair.features) for pair in pairs)
    most = agents * spec.agent_timeout / 3600 * price.hourly
    return (
        f"a sandbox costs about ${price.hourly:.3f} an hour, by {price.source}: at most ${most:.2f} for {agents} "
        "agents if each takes all its time (an estimate; judging and models come on top)"
    )
