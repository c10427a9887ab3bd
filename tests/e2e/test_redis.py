"""A run whose agents are reached by way of a real Redis server: from their sandboxes, and from outside."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import redis

from cooperbench import register_agent, run
from cooperbench.agents.base import AgentResult
from cooperbench.collaboration.door import Outsider
from cooperbench.dataset import demo_dataset
from cooperbench.dataset.model import Pair
from cooperbench.errors import BackendError
from cooperbench.eval.backends import shell
from cooperbench.runs import RunDirectory
from tests.unit.collaboration.redis_server import PASSWORD, serving


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with serving() as url:
        yield url


class Mixed:
    """agent1 talks as a process elsewhere would, with the URL alone; agent2 by `coop` in its sandbox."""

    uses_model = False

    def run(self, assignment, sandbox, mailbox) -> AgentResult:
        if assignment.agent_id == "agent2":
            script = "coop inbox --wait 120 && coop task claim && coop send agent1 claimed"
            done = shell.run(sandbox, ["sh", "-c", script], timeout=200)
            return AgentResult(cost=0.0, messages=[{"said": done.stdout_read()}])
        with contextlib.closing(Outsider(assignment.bus_url, "agent1")) as outside:
            outside.call("task add", "a part")
            outside.call("send agent2", "there is a task")
            code, answer = outside.call("inbox 120", patience=180)
        assert code == 0
        return AgentResult(cost=0.0, messages=[{"answer": answer, "also": str(mailbox.receive())}])


def options(place: Path, **more: Any) -> dict[str, Any]:
    return {
        "repo": "almanac_task", "task_id": 12, "features": [1, 4], "agent": "mixed", "setting": "team",
        "auto_eval": False, "backend": "local", "dataset_dir": demo_dataset(), "logs_dir": place, **more,
    }  # fmt: skip


def test_inside_and_outside_are_one_team(tmp_path: Path, url: str) -> None:
    register_agent("mixed", Mixed)
    assert run("redis", **options(tmp_path, redis_url=url))["completed"] == 1
    trial = RunDirectory(tmp_path, "redis").trial("team", Pair("almanac_task", 12, (1, 4)))
    said = [(entry["from"], entry["message"]) for entry in trial.read_conversation()]
    assert said == [("agent1", "there is a task"), ("agent2", "claimed")]
    assert (trial.read_result() or {})["metrics"]["claims_per_agent"] == {"agent1": 0, "agent2": 1}
    written = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    assert PASSWORD.encode() not in written
    assert (RunDirectory(tmp_path, "redis").read_config() or {})["redis"] is True


def test_two_runs_at_once_on_one_server(tmp_path: Path, url: str) -> None:
    """Each has its own keys and users; a run that begins removes no user of one that is under way; nothing is left."""
    register_agent("mixed", Mixed)
    names = ("one", "two")
    with ThreadPoolExecutor(2) as pool:
        done = list(pool.map(lambda name: run(name, **options(tmp_path, redis_url=url)), names))
    assert [(summary["completed"], summary["messages_sent"]) for summary in done] == [(1, 2), (1, 2)]
    for name in names:
        trial = RunDirectory(tmp_path, name).trial("team", Pair("almanac_task", 12, (1, 4)))
        said = [(entry["from"], entry["message"]) for entry in trial.read_conversation()]
        assert said == [("agent1", "there is a task"), ("agent2", "claimed")]
        assert (trial.read_result() or {})["metrics"]["tasks_total"] == 1
    with contextlib.closing(redis.Redis.from_url(url, decode_responses=True)) as client:
        assert client.keys("*") == []
        assert client.execute_command("ACL", "USERS") == ["default"]


def test_a_server_that_is_not_there_is_said_before_anything_is_done(tmp_path: Path) -> None:
    register_agent("mixed", Mixed)
    with pytest.raises(BackendError, match=r"the Redis server at 127\.0\.0\.1:1"):
        run("redis", **options(tmp_path, redis_url="redis://127.0.0.1:1"))
    assert not (tmp_path / "redis").exists()
