"""The storms of `storms.py` between containers: small ones each time, the full figures with ``-m scale``."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from cooperbench.eval.backends.docker import DockerBackend
from tests.docker.engines import IMAGE
from tests.unit.collaboration.storms import all_claim, each_sends_the_other
from tests.unit.collaboration.teams import Team

FULL = pytest.mark.scale


@pytest.fixture
def team(backend: DockerBackend, request: pytest.FixtureRequest) -> Iterator[Team]:
    team = Team(backend, size=request.param, image=IMAGE).start()
    yield team
    team.end()


@pytest.mark.parametrize(
    ("team", "messages"), [(2, 200), pytest.param(2, 2000, marks=FULL)], indirect=["team"]
)
def test_two_agents_lose_and_repeat_no_message(team: Team, messages: int) -> None:
    each_sends_the_other(team, messages)


@pytest.mark.parametrize(("team", "tasks"), [(4, 50), pytest.param(8, 500, marks=FULL)], indirect=["team"])
def test_no_task_is_claimed_by_two(team: Team, tasks: int) -> None:
    all_claim(team, tasks)
