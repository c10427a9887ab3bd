"""The bus for agents outside the harness's process: a Redis server carries messages and requests to and from them.

What is on the server, for a trial with run id ID (the layout of earlier releases, so their agents can read it):

    run:ID:AGENT:inbox   list: an agent's unread messages, JSON of `from`, `to`, `content`, `timestamp`
    cb:ID:task:NUMBER    hash: a task of the team's list, as it is now
    cb:ID:tasks          list: the numbers
    cb:ID:requests       list: JSON of `id`, `agent`, `request`, as `coop` asks; answered in `cb:ID:reply:<id>`

Every trial has a user of its own on the server, who sees these keys and no others, and is gone with them when the
trial ends. Whatever arrives from outside is checked like anything else that comes from an agent.
"""

from __future__ import annotations

import contextlib
import json
import logging
import secrets
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qs, quote, urlsplit, urlunsplit

from cooperbench.agents.base import Message, Todo
from cooperbench.collaboration.inboxes import Taken
from cooperbench.collaboration.journal import TEXT_LIMIT
from cooperbench.errors import BackendError, MissingExtra, UsageError

KEPT = 24 * 3600
"""Seconds after which the server forgets what a killed harness left."""
POLL = 0.1
"""Seconds between looks into an inbox that somebody outside may write to."""
_AT_ONCE = 16
"""Messages that are taken from an inbox in one step."""
_USER = "cooperbench-"
_LOOPBACK = ("localhost", "127.0.0.1", "::1")
_LONGEST = 3 * TEXT_LIMIT
"""Bytes of a message as JSON that are looked at."""

_log = logging.getLogger(__name__)


class RedisServer:
    """A server that is there and lets us in.

    Raises:
        UsageError: not a Redis URL, or a server that anybody on the network may use. MissingExtra: no client library.
        BackendError: it does not answer, or refuses us.
    """

    def __init__(self, url: str) -> None:
        try:
            import redis
        except ImportError as problem:
            raise MissingExtra("--redis", "redis") from problem
        self._url = url
        try:
            parts = urlsplit(url)
            self.address = f"{parts.hostname}:{parts.port or 6379}" if parts.scheme != "unix" else parts.path
            self.client: Any = redis.Redis.from_url(
                url, decode_responses=False, socket_connect_timeout=10, socket_timeout=30
            )
        except ValueError as problem:
            raise UsageError(
                f"redis_url is no address of a Redis server: redis://:PASSWORD@HOST:PORT ({problem})"
            ) from None
        if parts.scheme != "unix" and parts.hostname not in _LOOPBACK and not parts.password:
            raise UsageError(
                f"the Redis server at {self.address} has no password in its URL, and everybody on its network could "
                f"read and forge messages: redis://:PASSWORD@{self.address}"
            )
        if "password" in parse_qs(parts.query):  # it would be in the URL every agent gets
            raise UsageError(
                "redis_url has its password in the query; put it before the host: redis://:PASSWORD@HOST:PORT"
            )
        with self.answering():
            self.client.ping()

    @contextlib.contextmanager
    def answering(self) -> Iterator[None]:
        """What the client library raises is the infrastructure's failure; no message of ours holds a password."""
        import redis

        try:
            yield
        except redis.RedisError as problem:
            reason = " ".join(str(problem).split())[:200]
            raise BackendError(f"the Redis server at {self.address}: {reason}") from problem

    def url_for(self, user: str, password: str, run_id: str) -> str:
        """The server's URL for a user of ours."""
        parts = urlsplit(self._url)
        place = parts.netloc.rpartition("@")[2]
        netloc = f"{quote(user)}:{quote(password)}@{place}"
        return urlunsplit((parts.scheme, netloc, parts.path, parts.query, f"run:{run_id}"))

    def close(self) -> None:
        """Let go of every connection."""
        self.client.close()

    def sweep(self) -> None:
        """Remove the users of trials whose harness was killed: keys expire, users do not."""
        with self.answering():
            for name in self.client.execute_command("ACL", "USERS"):
                user = name.decode("utf-8", "replace") if isinstance(name, bytes) else str(name)
                if user.startswith(_USER) and not self.client.exists(_alive(user.removeprefix(_USER))):
                    self.client.execute_command("ACL", "DELUSER", user)


class Outpost:
    """One trial's place on the server: its `Inboxes`, and its task list for others to see."""

    poll = POLL

    def __init__(self, server: RedisServer, run_id: str, agents: Sequence[str]) -> None:
        self._server = server
        self._run = run_id
        self._agents = tuple(agents)
        self._user = f"{_USER}{run_id}"
        self._password = secrets.token_urlsafe(24)
        self._ours: Counter[bytes] = Counter()
        self._keys: set[str] = {self._inbox(agent) for agent in agents}

    @property
    def url(self) -> str:
        """What agents outside are given: the server, this trial's user, and ``#run:ID``."""
        return self._server.url_for(self._user, self._password, self._run)

    def key(self, name: str) -> str:
        """One of the trial's keys."""
        key = f"cb:{self._run}:{name}"
        self._keys.add(key)
        return key

    def open(self) -> None:
        """Make the trial's user.

        Raises:
            BackendError: the server does not let us.
        """
        with self._server.answering():
            self._server.client.set(_alive(self._run), "1", ex=KEPT)
            self._server.client.execute_command(
                "ACL", "SETUSER", self._user, "reset", "on", f">{self._password}",
                f"~run:{self._run}:*", f"~cb:{self._run}:*",
                "+@all", "-@admin", "-@dangerous", "-@scripting", "-@pubsub", "-scan", "-randomkey", "-dbsize",
            )  # fmt: skip

    # ------------------------------------------------------------------------------------------ inboxes

    def put(self, message: Message) -> None:
        """Leave a message for its recipient."""
        raw = _raw(message)
        self._ours[raw] += 1
        self._push(self._inbox(message.recipient), raw)

    def has(self, agent: str, wanted: Callable[[Message], bool] | None = None) -> bool:
        """Whether there is anything to take."""
        with self._server.answering():
            if wanted is None:
                return bool(self._server.client.llen(self._inbox(agent)))
            found = self._server.client.lrange(self._inbox(agent), 0, -1)
        return any(wanted(message) for raw in found if (message := self._read(agent, raw)) is not None)

    def take(
        self, agent: str, wanted: Callable[[Message], bool] | None = None, room: int | None = None
    ) -> Taken:
        """Everything unread, or as much of it as has `room` (bytes, more or less); or the first that is `wanted`."""
        inbox = self._inbox(agent)
        messages: list[Message] = []
        foreign: list[Message] = []
        for raw in self._popped(inbox, room) if wanted is None else self._picked(agent, inbox, wanted):
            message = self._read(agent, raw)
            if message is None:
                _log.warning("dropped from the inbox of %s: not a message", agent)
                continue
            messages.append(message)
            if self._ours[raw] > 0:
                self._ours[raw] -= 1
            else:
                foreign.append(message)
        return Taken(tuple(messages), tuple(foreign))

    def put_back(self, agent: str, messages: Sequence[Message]) -> None:
        """These come first again."""
        for message in reversed(messages):
            raw = _raw(message)
            self._ours[raw] += 1
            with self._server.answering():
                self._server.client.lpush(self._inbox(agent), raw)

    def close(self) -> None:
        """Remove the trial's user and keys. What cannot be removed now, the server forgets by itself."""
        with contextlib.suppress(BackendError), self._server.answering():
            self._server.client.execute_command("ACL", "DELUSER", self._user)
            self._server.client.delete(_alive(self._run), *self._keys)

    def _popped(self, inbox: str, room: int | None) -> list[bytes]:
        """What is there, a few in one step (somebody outside may be reading too), until it has taken the room."""
        found: list[bytes] = []
        with self._server.answering():
            for _ in range(0, self._server.client.llen(inbox), _AT_ONCE):  # and not what is added meanwhile
                pipe = self._server.client.pipeline(transaction=True)
                pipe.lrange(inbox, 0, _AT_ONCE - 1)
                pipe.ltrim(inbox, _AT_ONCE, -1)
                found += pipe.execute()[0]
                if room is not None and sum(map(len, found)) >= room:
                    break
        return found

    def _picked(self, agent: str, inbox: str, wanted: Callable[[Message], bool]) -> list[bytes]:
        with self._server.answering():
            for raw in self._server.client.lrange(inbox, 0, -1):
                message = self._read(agent, raw)
                if message is not None and wanted(message) and self._server.client.lrem(inbox, 1, raw):
                    return [raw]
        return []

    def _read(self, agent: str, raw: bytes) -> Message | None:
        """A message as it lies on the server; None for what is not one of this trial's."""
        try:
            value: Any = json.loads(raw) if len(raw) <= _LONGEST else None
            sender, text, at = value["from"], value["content"], value["timestamp"]
            sent_at = datetime.fromisoformat(at).timestamp()
        except (ValueError, TypeError, KeyError, OverflowError, RecursionError):
            return None
        if sender not in self._agents or sender == agent or not isinstance(text, str):
            return None
        return Message(sender, agent, text, sent_at, value.get("broadcast") is True)

    # ------------------------------------------------------------------------------------------ tasks

    def show(self, task: Todo) -> None:
        """Let others see a task as it is now."""
        record = {
            "id": task.number,
            "title": task.title,
            "status": task.status,
            "owner": task.owner or "",
            "created_by": task.created_by,
        }
        key = self.key(f"task:{task.number}")
        with self._server.answering():
            if not self._server.client.exists(key):
                self._push(self.key("tasks"), str(task.number).encode())
            self._server.client.hset(key, mapping=record)
            self._server.client.expire(key, KEPT)

    # ------------------------------------------------------------------------------------------ requests

    def ask(self, request: bytes) -> None:
        """Put a request where those from outside are."""
        self._push(self.key("requests"), request)

    def next_request(self, seconds: float) -> bytes | None:
        """What somebody outside asks; None when nothing comes."""
        with self._server.answering():
            found = self._server.client.blpop([self.key("requests")], timeout=seconds)
        return found[1] if found is not None else None

    def reply(self, name: str, answer: bytes) -> None:
        """Leave an answer for who asked."""
        self._push(self.key(f"reply:{name}"), answer)

    def _inbox(self, agent: str) -> str:
        return f"run:{self._run}:{agent}:inbox"

    def _push(self, key: str, content: bytes) -> None:
        with self._server.answering():
            pipe = self._server.client.pipeline(transaction=True)
            pipe.rpush(key, content)
            pipe.expire(key, KEPT)
            pipe.execute()


def _raw(message: Message) -> bytes:
    value = {
        "from": message.sender,
        "to": message.recipient,
        "content": message.text,
        "timestamp": datetime.fromtimestamp(message.sent_at, UTC).isoformat(),
        **({"broadcast": True} if message.broadcast else {}),
    }
    return json.dumps(value).encode()


def _alive(run_id: str) -> str:
    """The key that says that a trial's user is still needed."""
    return f"cb:{run_id}:alive"


@contextlib.contextmanager
def connected(url: str | None) -> Iterator[RedisServer | None]:
    """The server at this URL for a while, what killed harnesses left there removed; None without one."""
    server = RedisServer(url) if url is not None else None
    try:
        if server is not None:
            server.sweep()
        yield server
    finally:
        if server is not None:
            server.close()
