"""The storms of `storms.py` between embedded sandboxes, in full."""

from __future__ import annotations

from cooperbench.eval.backends.local import LocalBackend
from tests.unit.collaboration.storms import all_claim, each_sends_the_other
from tests.unit.collaboration.teams import Team
from tests.unit.collaboration.test_relay import Flaky


def test_two_agents_and_two_thousand_messages_each_way(team: Team) -> None:
    """Every third answer of one sandbox gets lost on its way."""
    team.start(lambda box: Flaky(box) if box is team.boxes["agent2"] else box)
    each_sends_the_other(team, 2000)


def test_eight_agents_claim_five_hundred_tasks(backend: LocalBackend) -> None:
    team = Team(backend, size=8).start()
    try:
        all_claim(team, 500)
    finally:
        team.end()
