"""What agents ask of the bus, as `coop` writes it: bytes from inside a sandbox, so anything at all.

A request is one line of words, and after it the text as it is. Serving one gives an `Answer` at once, or `Later`,
what is to be waited for: by then all that the request changes has been done, once.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from cooperbench.agents.base import Message, Todo
from cooperbench.collaboration.inboxes import weight
from cooperbench.collaboration.journal import TEXT_LIMIT
from cooperbench.collaboration.mailbox import BusMailbox, signed
from cooperbench.errors import UsageError

LONGEST_WAIT = 3600
NOTHING_CAME = 3
"""Exit code of `coop ask` when no answer came in time."""
AT_ONCE = 64
"""Requests of one call that are looked at; relay.sh prints no more."""
LONGEST = 180_000
"""Bytes of a request as relay.sh prints it."""
PAGE = 1024 * 1024
"""Bytes of messages, or of the task list, that one answer shows."""
_ID = re.compile(rb"[A-Za-z0-9]{6,32}")
_ANSWERED = 1024
"""Answered ids of one call that are looked at: more than answers travel in one."""

Bundle = Callable[[], bytes]
"""Brings the file that came with a push out of the sandbox."""


@dataclass(frozen=True, slots=True)
class Call:
    """What one call of ``relay.sh`` printed."""

    requests: tuple[tuple[str, bytes], ...]
    """(id, contents)."""
    answered: frozenset[str]
    """Ids that need no answer any more."""
    gone: frozenset[str]
    """Of those, the ones whose asker was not there any more."""
    more: bool = False
    """There were more requests than are looked at in one call."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What `coop` prints and ends with."""

    code: int
    text: str
    messages: tuple[Message, ...] = ()
    """Messages this answer takes out of the mailbox."""
    files: Mapping[str, bytes] = field(default_factory=dict)
    """Files that come with it, by name."""
    size: int = field(init=False)
    """Bytes of the text and the files."""

    def __post_init__(self) -> None:
        size = len(self.to_bytes()) + sum(map(len, self.files.values()))
        object.__setattr__(self, "size", size)  # told once: it is asked for often

    def to_bytes(self) -> bytes:
        """As `coop` reads it: the exit code on the first line, then the text."""
        return f"{self.code}\n{self.text}\n".encode("utf-8", "replace")


@dataclass(frozen=True, slots=True)
class Later:
    """An answer that must be waited for."""

    wait: Callable[[], Answer]


def read_call(output: bytes) -> Call:
    """Take apart what ``relay.sh`` printed; lines that make no sense are nothing."""
    requests: dict[str, bytes] = {}
    answered: set[str] = set()
    gone: set[str] = set()
    for line in _lines(output):
        mark, rest = (line[:1], line[1:]) if line[:1] in (b"=", b"!") else (b"", line)
        name, _, encoded = rest.partition(b" ")
        if _ID.fullmatch(name) is None:
            continue
        if mark and len(answered) < _ANSWERED:
            answered.add(name.decode("ascii"))
            if mark == b"!":
                gone.add(name.decode("ascii"))
        elif encoded and not mark:
            if len(requests) >= AT_ONCE:
                return Call(tuple(requests.items()), frozenset(answered), frozenset(gone), more=True)
            with contextlib.suppress(binascii.Error):
                requests[name.decode("ascii")] = base64.b64decode(encoded, validate=True)
    return Call(tuple(requests.items()), frozenset(answered), frozenset(gone))


def _lines(output: bytes) -> Iterator[bytes]:
    """The lines that are no longer than one may be, one at a time."""
    start = 0
    while start < len(output):
        end = output.find(b"\n", start)
        end = len(output) if end < 0 else end
        if end - start <= LONGEST:
            yield output[start:end]
        start = end + 1


def serve(request: bytes, mailbox: BusMailbox, bundle: Bundle) -> Answer | Later:
    """Do what a request asks; whatever is wrong with it is an answer."""
    line, _, body = request.partition(b"\n")
    verb, *words = line.decode("utf-8", "replace").split(" ")
    text = body.decode("utf-8", "replace")
    try:
        match verb, words:
            case "send", [agent]:
                mailbox.send(agent, text)
                return Answer(0, f"sent to {agent}")
            case "broadcast", []:
                mailbox.broadcast(text)
                return Answer(0, "sent to everybody still at work")
            case "inbox", [seconds]:
                return _inbox(mailbox, _seconds(seconds))
            case "ask", [agent, seconds]:
                return _ask(mailbox, agent, _seconds(seconds), text)
            case "who", []:
                return Answer(0, "\n".join(_who(mailbox)))
            case "task", [what, *number]:
                return _task(mailbox, what, number, text)
            case "note", [what]:
                return _note(mailbox, what, text)
            case "push", []:
                mailbox.needs("git")
                branch = mailbox.push(bundle())
                return Answer(0, f"pushed (your push {branch.number}): teammates get it with: coop fetch")
            case "fetch", [] | [_]:
                return _fetch(mailbox, words)
    except UsageError as problem:
        return Answer(1, f"coop: {problem}")
    return Answer(2, f"coop: {verb[:40]!r} is unknown, or not like this (coop --help)")


def _inbox(mailbox: BusMailbox, wait: int) -> Answer | Later:
    mailbox.needs("messages")
    if messages := mailbox.receive(room=PAGE):
        return _shown(messages)
    if wait == 0:
        return Answer(0, _nothing(mailbox))

    def later() -> Answer:
        messages = mailbox.receive(wait, room=PAGE)
        return _shown(messages) if messages else Answer(0, _nothing(mailbox))

    return Later(later)


def _shown(messages: list[Message]) -> Answer:
    text = "\n".join(map(shown, messages))
    if sum(map(weight, messages)) > PAGE - 3 * TEXT_LIMIT:  # another one may not have found room
        text += "\n(there may be more: coop inbox)"
    return Answer(0, text, tuple(messages))


def _ask(mailbox: BusMailbox, agent: str, wait: int, text: str) -> Later:
    question = mailbox.question(agent, text)

    def later() -> Answer:
        answer = mailbox.answer_to(question, wait)
        if answer is not None:
            return Answer(0, shown(answer), (answer,))
        if mailbox.bus.finished(agent):
            return Answer(NOTHING_CAME, f"coop: {agent} has finished without an answer")
        return Answer(NOTHING_CAME, f"coop: no answer yet; when {agent} sends one, it is in your inbox")

    return Later(later)


def _task(mailbox: BusMailbox, what: str, number: list[str], text: str) -> Answer:
    match what, number:
        case "list", []:
            return Answer(0, _page(map(shown_task, mailbox.tasks())) or "no tasks yet: coop task add TITLE")
        case "add", []:
            return Answer(0, shown_task(mailbox.add_task(text)))
        case "claim", []:
            return Answer(0, shown_task(mailbox.claim_task()))
        case "claim", [one]:
            return Answer(0, shown_task(mailbox.claim_task(_number(one))))
        case "done", [one]:
            return Answer(0, shown_task(mailbox.finish_task(_number(one), text)))
        case "update", [one]:
            return Answer(0, shown_task(mailbox.update_task(_number(one), text)))
    return Answer(2, "coop: task takes add, list, claim, done or update (coop --help)")


def _page(tasks: Iterable[str]) -> str:
    """As much of the list as one answer shows."""
    lines: list[str] = []
    room = PAGE
    for line in (line for task in tasks for line in task.split("\n")):
        room -= len(line) + 1
        if room < 0:
            return "\n".join([*lines, "(the list is longer than can be shown)"])
        lines.append(line)
    return "\n".join(lines)


def _note(mailbox: BusMailbox, what: str, text: str) -> Answer:
    match what:
        case "show":
            return Answer(0, mailbox.read_notes() or "the scratchpad is empty")
        case "append":
            mailbox.append_note(text)
            return Answer(0, "added")
        case "replace":
            mailbox.replace_notes(text)
            return Answer(0, "replaced")
    return Answer(2, "coop: note takes show, append or replace (coop --help)")


def _fetch(mailbox: BusMailbox, words: list[str]) -> Answer:
    branches = mailbox.fetch(*words)
    lines = "\n".join(f"{branch.agent} {branch.number}" for branch in branches)
    return Answer(0, lines, files={f"{branch.agent}.bundle": branch.bundle for branch in branches})


def _seconds(word: str) -> int:
    return min(_number(word), LONGEST_WAIT)


def _number(word: str) -> int:
    if not (word.isascii() and word.isdigit() and len(word) <= 6):
        raise UsageError(f"{word[:20]!r} is not a whole number")
    return int(word)


def _nothing(mailbox: BusMailbox) -> str:
    finished = [mate for mate in mailbox.teammates if mailbox.bus.finished(mate)]
    note = f" ({', '.join(finished)} has finished)" if finished else ""
    return f"no unread messages{note}"


def shown(message: Message) -> str:
    """A message as an agent reads it."""
    return signed(f"from {message.sender}", message.sent_at, message.text)


def shown_task(task: Todo) -> str:
    """A task as an agent reads it."""
    who = f" {task.owner}" if task.owner is not None else ""
    lines = [f"{task.number} [{task.status}{who}] {task.title}"]
    lines += [f"    {line}" for remark in task.remarks for line in remark.splitlines()]
    return "\n".join(lines)


def _who(mailbox: BusMailbox) -> Iterable[str]:
    for agent, present in mailbox.present().items():
        yield f"{agent}  {'you' if agent == mailbox.agent else 'at work' if present else 'finished'}"
