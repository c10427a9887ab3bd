"""What agents ask of the bus, as `coop` writes it: bytes from inside a sandbox, so anything at all."""

from __future__ import annotations

import base64
import binascii
import contextlib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime

from cooperbench.agents.base import Message
from cooperbench.collaboration.bus import BusMailbox
from cooperbench.errors import UsageError

LONGEST_WAIT = 3600
_ID = re.compile(rb"[A-Za-z0-9]{6,32}")
_AT_ONCE = 64
"""Requests of one sandbox that are looked at together; the rest of a flood is dropped."""


@dataclass(frozen=True, slots=True)
class Call:
    """What one call of ``relay.sh`` printed."""

    requests: tuple[tuple[str, bytes], ...]
    """(id, contents)."""
    answered: frozenset[str]
    """Ids that need no answer any more."""
    gone: frozenset[str]
    """Of those, the ones whose asker was not there any more."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What `coop` prints and ends with."""

    code: int
    text: str
    messages: tuple[Message, ...] = ()
    """Messages this answer takes out of the mailbox."""

    def to_bytes(self) -> bytes:
        """As `coop` reads it: the exit code on the first line, then the text."""
        return f"{self.code}\n{self.text}\n".encode("utf-8", "replace")


def read_call(output: bytes) -> Call:
    """Take apart what ``relay.sh`` printed; lines that make no sense are nothing."""
    requests: dict[str, bytes] = {}
    answered: set[str] = set()
    gone: set[str] = set()
    for line in output.splitlines()[:_AT_ONCE]:
        mark, rest = (line[:1], line[1:]) if line[:1] in (b"=", b"!") else (b"", line)
        name, _, encoded = rest.partition(b" ")
        if _ID.fullmatch(name) is None:
            continue
        if mark:
            answered.add(name.decode("ascii"))
            if mark == b"!":
                gone.add(name.decode("ascii"))
        elif encoded:
            with contextlib.suppress(binascii.Error):
                requests[name.decode("ascii")] = base64.b64decode(encoded, validate=True)
    return Call(tuple(requests.items()), frozenset(answered), frozenset(gone))


def wait_of(request: bytes) -> float:
    """How many seconds a request is ready to wait; 0 for those that do not wait."""
    verb, _, argument = request.partition(b"\n")[0].partition(b" ")
    if verb != b"inbox" or not argument.isdigit() or len(argument) > 6:
        return 0
    return min(int(argument), LONGEST_WAIT)


def serve(request: bytes, mailbox: BusMailbox, wait: float = 0) -> Answer:
    """Do what a request asks; whatever is wrong with it is an answer."""
    line, _, body = request.partition(b"\n")
    verb, _, argument = line.decode("utf-8", "replace").partition(" ")
    text = body.decode("utf-8", "replace")
    try:
        if verb == "send":
            mailbox.send(argument, text)
            return Answer(0, f"sent to {argument}")
        if verb == "broadcast":
            mailbox.broadcast(text)
            return Answer(0, "sent to everybody still at work")
        if verb == "inbox":
            return _inbox(mailbox, mailbox.receive(wait))
        if verb == "who":
            return Answer(0, "\n".join(_who(mailbox)))
    except UsageError as problem:
        return Answer(1, f"coop: {problem}")
    return Answer(2, f"coop: {verb[:40]!r} is unknown (coop --help)")


def _inbox(mailbox: BusMailbox, messages: list[Message]) -> Answer:
    if messages:
        return Answer(0, "\n".join(map(shown, messages)), tuple(messages))
    finished = [mate for mate in mailbox.teammates if mailbox.bus.finished(mate)]
    note = f" ({', '.join(finished)} has finished)" if finished else ""
    return Answer(0, f"no unread messages{note}")


def shown(message: Message) -> str:
    """A message as an agent reads it. Its lines are indented, so no text can pass for another message's head."""
    at = datetime.fromtimestamp(message.sent_at, UTC).strftime("%H:%M:%S")
    lines = message.text.splitlines() or [""]
    return "\n".join([f"from {message.sender} at {at} UTC:", *(f"  {line}" for line in lines)])


def _who(mailbox: BusMailbox) -> Iterable[str]:
    for agent in mailbox.bus.agents:
        if agent == mailbox.agent:
            yield f"{agent}  you"
        else:
            yield f"{agent}  {'finished' if mailbox.bus.finished(agent) else 'at work'}"
