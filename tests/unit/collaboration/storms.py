"""Storms: nothing lost, nothing twice, nothing claimed by two, however much goes over `exec` at once."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Callable
from pathlib import Path

from cooperbench.eval.backends import shell
from tests.unit.collaboration.teams import Team

FLOOD = Path(__file__).with_name("flood.py").read_text()


def flood(team: Team, agent: str, requests: list[str], depth: int) -> list[str]:
    """What comes of these requests of one agent's, so many of them at once."""
    lines = "".join(json.dumps(request) + "\n" for request in requests)
    command = ["python3", "-c", FLOOD, str(depth)]
    done = shell.run(team.boxes[agent], command, stdin=lines.encode(), timeout=900)
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


def each_sends_the_other(team: Team, messages: int, depth: int = 48) -> None:
    """Two agents, so many messages each way, sent and read at once: all arrive, each once."""
    received: dict[str, list[str]] = {}

    def work(agent: str) -> None:
        other = "agent2" if agent == "agent1" else "agent1"
        requests = []
        for number in range(messages):
            requests.append(f"send {other}\n{agent}-{number}")
            requests += [f"inbox {number % 3}\n"] if number % 50 == 49 else []
        received[agent] = flood(team, agent, requests, depth)

    together(team, work)
    for agent in team.boxes:
        other = "agent2" if agent == "agent1" else "agent1"
        received[agent] += flood(team, agent, ["inbox 0\n"], depth=1)
        answers = [answer for answer in received[agent] if answer.startswith("0\nfrom")]
        read = [text for answer in answers for text in re.findall(r"^  (.*)$", answer, re.MULTILINE)]
        assert sorted(read) == sorted(f"{other}-{number}" for number in range(messages))
        assert received[agent].count(f"0\nsent to {other}\n") == messages
    assert len(team.bus.journal()) == 2 * messages
    assert [entry.number for entry in team.bus.timeline()] == list(range(1, len(team.bus.timeline()) + 1))


def all_claim(team: Team, tasks: int) -> None:
    """So many tasks, claimed by all agents at once: each by one, and none is left."""
    flood(team, "agent1", [f"task add\ntask {number}" for number in range(1, tasks + 1)], depth=48)
    claimed: dict[str, list[int]] = {}

    def work(agent: str) -> None:
        tries = 2 * tasks // len(team.boxes)
        answers: list[str] = []
        while not answers or answers[-1].startswith("0\n"):  # until there is none
            answers += flood(team, agent, ["task claim\n"] * tries, depth=8)
        claimed[agent] = [int(answer.split()[1]) for answer in answers if answer.startswith("0\n")]

    together(team, work)
    assert sorted(number for numbers in claimed.values() for number in numbers) == list(range(1, tasks + 1))
    for task in team.bus.tasks.all():
        assert task.number in claimed[task.owner or ""]
