"""Storms: nothing lost, nothing twice, nothing claimed by two, however much goes over `exec` at once."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Callable
from pathlib import Path

from cooperbench.eval.backends import shell
from cooperbench.eval.backends.local import LocalBackend
from tests.unit.collaboration.teams import Team
from tests.unit.collaboration.test_relay import Flaky

FLOOD = Path(__file__).with_name("flood.py").read_text()
MESSAGES = 2000


def flood(team: Team, agent: str, requests: list[str], depth: int) -> list[str]:
    """What comes of these requests of one agent's, so many of them at once."""
    lines = "".join(json.dumps(request) + "\n" for request in requests)
    command = ["python3", "-c", FLOOD, str(depth)]
    done = shell.run(team.boxes[agent], command, stdin=lines.encode(), timeout=280)
    assert done.returncode == 0, done.stderr_read()[-2000:]
    return [json.loads(line) for line in done.stdout.splitlines()]


def together(team: Team, work: Callable[[str], object]) -> None:
    """Every agent at the same time."""
    problems: list[BaseException] = []

    def guarded(agent: str) -> None:
        try:
            work(agent)
        except BaseException as problem:
            problems.append(problem)

    threads = [threading.Thread(target=guarded, args=(agent,)) for agent in team.boxes]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not problems, problems


def test_two_agents_and_two_thousand_messages_each_way(team: Team) -> None:
    """Sent and read at once; the sandboxes' every third answer gets lost on the way in one direction."""
    team.start(lambda box: Flaky(box) if box is team.boxes["agent2"] else box)
    received: dict[str, list[str]] = {}

    def work(agent: str) -> None:
        other = "agent2" if agent == "agent1" else "agent1"
        requests = []
        for number in range(MESSAGES):
            requests.append(f"send {other}\n{agent}-{number}")
            requests += [f"inbox {number % 3}\n"] if number % 50 == 49 else []
        received[agent] = flood(team, agent, requests, depth=48)

    together(team, work)
    for agent in team.boxes:
        other = "agent2" if agent == "agent1" else "agent1"
        received[agent] += flood(team, agent, ["inbox 0\n"], depth=1)
        answers = [answer for answer in received[agent] if answer.startswith("0\nfrom")]
        read = [text for answer in answers for text in re.findall(r"^  (.*)$", answer, re.MULTILINE)]
        assert sorted(read) == sorted(f"{other}-{number}" for number in range(MESSAGES))
        assert received[agent].count(f"0\nsent to {other}\n") == MESSAGES
    assert len(team.bus.journal()) == 2 * MESSAGES
    assert [entry.number for entry in team.bus.timeline()] == list(range(1, len(team.bus.timeline()) + 1))


def test_eight_agents_claim_five_hundred_tasks(backend: LocalBackend) -> None:
    team = Team(backend, size=8).start()
    try:
        flood(team, "agent1", [f"task add\ntask {number}" for number in range(1, 501)], depth=48)
        claimed: dict[str, list[int]] = {}

        def work(agent: str) -> None:
            answers = flood(team, agent, ["task claim\n"] * 100, depth=8)
            claimed[agent] = [int(answer.split()[1]) for answer in answers if answer.startswith("0\n")]

        together(team, work)
        assert sorted(number for numbers in claimed.values() for number in numbers) == list(range(1, 501))
        for task in team.bus.tasks.all():
            assert task.number in claimed[task.owner or ""]
    finally:
        team.end()
