"""The bus by way of a real Redis server: the same rules, the layout of earlier releases, one trial blind to another."""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
import redis

from cooperbench.collaboration import Bus, BusMailbox, RecipientFinishedError
from cooperbench.collaboration.door import Door, Outsider
from cooperbench.collaboration.outside import Outpost, RedisServer, connected
from cooperbench.errors import BackendError, UsageError
from tests.unit.collaboration.redis_server import PASSWORD, serving


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with serving() as url:
        yield url


@pytest.fixture
def client(url: str) -> Iterator[redis.Redis]:
    with contextlib.closing(redis.Redis.from_url(url, decode_responses=True)) as client:
        client.flushdb()
        yield client


class Trial:
    """A bus with a door, as the runner makes it."""

    def __init__(self, server: RedisServer, run_id: str = "0a1b2c3d") -> None:
        names = ["agent1", "agent2"]
        outpost = Outpost(server, run_id, names)
        self.bus = Bus(names, inboxes=outpost, show=outpost.show)
        self.door = Door(outpost, self.bus)
        self.door.open()
        self.one, self.two = (BusMailbox(self.bus, name) for name in names)

    def close(self) -> None:
        self.door.close()
        self.bus.close()


@pytest.fixture
def server(url: str, client: redis.Redis) -> Iterator[RedisServer]:
    assert client.ping()
    with connected(url) as server:
        assert server is not None
        yield server


@pytest.fixture
def trial(server: RedisServer) -> Iterator[Trial]:
    trial = Trial(server)
    yield trial
    trial.close()


def outside(message: dict[str, Any]) -> str:
    return json.dumps({"to": "agent2", "timestamp": datetime.now(UTC).isoformat(), **message})


def test_messages_lie_where_earlier_releases_have_them(trial: Trial, client: redis.Redis) -> None:
    trial.one.send("agent2", "hällo")
    (raw,) = client.lrange("run:0a1b2c3d:agent2:inbox", 0, -1)
    entry = json.loads(raw)
    assert {key: entry[key] for key in ("from", "to", "content")} == {
        "from": "agent1",
        "to": "agent2",
        "content": "hällo",
    }
    assert datetime.fromisoformat(entry["timestamp"]).tzinfo is not None
    assert 0 < client.ttl("run:0a1b2c3d:agent2:inbox") <= 24 * 3600  # MS2: nothing stays for ever
    assert [message.text for message in trial.two.receive()] == ["hällo"]
    assert trial.two.receive() == []
    with pytest.raises(UsageError, match="no agent 'agent9'"):
        trial.one.send("agent9", "x")
    trial.bus.finish("agent2")
    with pytest.raises(RecipientFinishedError):
        trial.one.send("agent2", "x")


def test_a_process_outside_writes_and_reads_with_nothing_but_redis(trial: Trial) -> None:
    base, _, run = trial.door.url.partition("#run:")
    with contextlib.closing(redis.Redis.from_url(base, decode_responses=True)) as outsider:
        outsider.rpush(f"run:{run}:agent2:inbox", outside({"from": "agent1", "content": "from outside"}))
        trial.one.send("agent2", "from inside")
        assert [message.text for message in trial.two.receive()] == ["from outside", "from inside"]
        trial.two.send("agent1", "answer")
        assert json.loads(outsider.lpop(f"run:{run}:agent1:inbox"))["content"] == "answer"
        outsider.rpush(f"run:{run}:agent1:inbox", outside({"from": "agent2", "content": "never read"}))
    trial.bus.close()
    said = [(posting.message.sender, posting.message.text) for posting in trial.bus.journal()]
    assert sorted(said) == [
        ("agent1", "from inside"), ("agent1", "from outside"), ("agent2", "answer"), ("agent2", "never read")
    ]  # fmt: skip


def test_a_full_inbox_is_read_a_page_at_a_time(trial: Trial, client: redis.Redis) -> None:
    """What has no room in one answer stays on the server, in its order; nonsense before it hides nothing."""
    inbox = "run:0a1b2c3d:agent2:inbox"
    client.rpush(inbox, *["nonsense"] * 20)
    for number in range(40):
        trial.one.send("agent2", f"{number} {'x' * 60_000}")
    first = trial.two.receive(room=1_000_000)
    assert 16 <= len(first) < 40
    assert client.llen(inbox) == 40 - len(first)
    rest = trial.two.receive()
    assert [message.text.split()[0] for message in first + rest] == [str(number) for number in range(40)]
    assert not client.exists(inbox)


def test_waiting_sees_what_comes_from_outside(trial: Trial, client: redis.Redis) -> None:
    got: list[str] = []
    waiter = threading.Thread(target=lambda: got.extend(m.text for m in trial.two.receive(wait=60)))
    waiter.start()
    client.rpush("run:0a1b2c3d:agent2:inbox", outside({"from": "agent1", "content": "now"}))
    waiter.join(60)
    assert got == ["now"]


NONSENSE = [
    "nonsense", "[]", "{}", '{"from": "agent1"}', "[" * 5000, "\xff",
    outside({"from": "stranger", "content": "x"}), outside({"from": "agent2", "content": "x"}),
    outside({"from": "agent1", "content": 7}), outside({"from": "agent1", "content": "x", "timestamp": "soon"}),
    outside({"from": "agent1", "content": "x" * 300_000}),
]  # fmt: skip


@pytest.mark.parametrize("raw", NONSENSE, ids=lambda raw: str(raw)[:24])
def test_what_is_no_message_is_dropped(trial: Trial, client: redis.Redis, raw: str) -> None:
    client.rpush("run:0a1b2c3d:agent2:inbox", raw)
    trial.one.send("agent2", "sound")
    assert [message.text for message in trial.two.receive()] == ["sound"]
    assert len(trial.bus.journal()) == 1


def test_a_message_sent_again_by_somebody_outside_is_seen(trial: Trial, client: redis.Redis) -> None:
    trial.one.send("agent2", "once")
    (raw,) = client.lrange("run:0a1b2c3d:agent2:inbox", 0, -1)
    client.rpush("run:0a1b2c3d:agent2:inbox", raw)
    assert len(trial.two.receive()) == 2
    assert [
        entry.details.get("outside", False) for entry in trial.bus.timeline() if entry.kind == "message"
    ] == [
        False,
        True,
    ]


def test_questions_and_what_was_put_back(trial: Trial) -> None:
    answers: list[str] = []
    trial.two.send("agent1", "earlier")
    asker = threading.Thread(
        target=lambda: answers.extend(m.text for m in [trial.one.ask("agent2", "?", 60)] if m is not None)
    )
    asker.start()
    taken = trial.two.receive(60)
    assert [message.text for message in taken] == ["?"]
    trial.two.put_back(taken)
    assert trial.two.receive() == taken
    trial.two.send("agent1", "!")
    asker.join(60)
    assert answers == ["!"]
    assert [message.text for message in trial.one.receive()] == ["earlier"]
    assert len(trial.bus.journal()) == 3


def test_everything_coop_does_for_a_process_outside(trial: Trial, client: redis.Redis) -> None:
    with contextlib.closing(Outsider(trial.door.url, "agent1")) as agent:
        assert agent.call("task add", "the parser") == (0, "1 [open] the parser")
        assert agent.call("task claim 1")[0] == 0
        assert agent.call("send agent2", "taken") == (0, "sent to agent2")
        assert agent.call("send agent9", "x")[0] == 1
        assert agent.call("note append", "here")[0] == 0
        assert agent.call("push")[1] == "coop: push needs a sandbox: use coop there"
        trial.two.push(b"bundle")
        assert agent.call("fetch")[1] == "coop: fetch needs a sandbox: use coop there"
        trial.two.send("agent1", "seen")
        code, text = agent.call("inbox 30")
        assert (code, text.splitlines()[-1]) == (0, "  seen")
    task = client.hgetall("cb:0a1b2c3d:task:1")
    assert (task["title"], task["status"], task["owner"]) == ("the parser", "claimed", "agent1")
    assert client.lrange("cb:0a1b2c3d:tasks", 0, -1) == ["1"]
    with pytest.raises(UsageError, match="agent1's"):
        trial.two.claim_task(1)


def test_a_request_that_comes_twice_is_served_once(trial: Trial, client: redis.Redis) -> None:
    request = json.dumps({"id": "abc", "agent": "agent1", "request": "send agent2\nonce"})
    for raw in (
        request,
        request,
        "nonsense",
        json.dumps({"id": "../x", "agent": "agent1", "request": "who"}),
    ):
        client.rpush("cb:0a1b2c3d:requests", raw)
    with contextlib.closing(Outsider(trial.door.url, "agent9")) as stranger:
        assert stranger.call("who") == (1, "coop: no agent 'agent9' here; there is agent1, agent2")
    assert [posting.message.text for posting in trial.bus.journal()] == ["once"]


def test_a_trial_sees_nothing_of_another(server: RedisServer, trial: Trial, client: redis.Redis) -> None:
    """MS7's like: any run could read and write any other's."""
    other = Trial(server, "ffffffff")
    other.one.send("agent2", "secret")
    base = trial.door.url.partition("#")[0]
    with contextlib.closing(redis.Redis.from_url(base, decode_responses=True)) as outsider:
        assert outsider.ping()
        for forbidden in (
            lambda: outsider.lrange("run:ffffffff:agent2:inbox", 0, -1),
            lambda: outsider.rpush("run:ffffffff:agent2:inbox", "forged"),
            lambda: outsider.hgetall("cb:ffffffff:task:1"),
            lambda: outsider.keys("*"),
            lambda: outsider.execute_command("SCAN", "0"),
            lambda: outsider.flushall(),
            lambda: outsider.config_get("requirepass"),
            lambda: outsider.execute_command("ACL", "LIST"),
            lambda: outsider.execute_command("MONITOR"),
            lambda: outsider.eval("return redis.call('keys', '*')", 0),
        ):
            with pytest.raises(redis.exceptions.NoPermissionError):
                forbidden()
    assert [message.text for message in other.two.receive()] == ["secret"]
    url = other.door.url.partition("#")[0]
    other.close()
    assert client.keys("*ffffffff*") == []  # MS2: keys stayed for ever
    with contextlib.closing(redis.Redis.from_url(url)) as late, pytest.raises(redis.AuthenticationError):
        late.ping()


def test_the_user_of_a_killed_harness_is_removed_by_the_next(
    url: str, trial: Trial, client: redis.Redis
) -> None:
    client.execute_command("ACL", "SETUSER", "cooperbench-dead", "on", ">x", "~run:dead:*", "+@all")
    with connected(url):
        users = client.execute_command("ACL", "USERS")
    assert "cooperbench-dead" not in users
    assert "cooperbench-0a1b2c3d" in users
    assert trial.one.present() == {"agent1": True, "agent2": True}


def test_a_server_that_will_not_have_us(url: str) -> None:
    wrong = url.replace(PASSWORD, "a-wrong-one")
    for bad in (wrong, url.replace(f":{PASSWORD}@", "")):
        with pytest.raises(BackendError, match=r"the Redis server at 127\.0\.0\.1:\d+: ") as caught:
            RedisServer(bad)
        assert "a-wrong-one" not in str(caught.value)
    with pytest.raises(BackendError, match=r"the Redis server at 127\.0\.0\.1:1"):
        RedisServer("redis://127.0.0.1:1")


@pytest.mark.parametrize("bad", ["elsewhere", "http://localhost", "redis://localhost:port"])
def test_what_is_no_address(bad: str) -> None:
    with pytest.raises(UsageError, match="no address of a Redis server"):
        RedisServer(bad)


def test_a_server_anybody_could_use_is_refused() -> None:
    """MS6: a server without a password on every interface."""
    with pytest.raises(UsageError, match="redis://:PASSWORD@elsewhere:6379"):
        RedisServer("redis://elsewhere")


def test_a_server_that_dies_is_the_infrastructures_failure() -> None:
    with serving() as url:
        trial = Trial(RedisServer(url))
    with pytest.raises(BackendError, match="the Redis server at"):
        trial.one.send("agent2", "x")
    with pytest.raises(BackendError):
        trial.two.receive(wait=60)
