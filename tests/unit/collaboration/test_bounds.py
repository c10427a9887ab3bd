"""What one sandbox can make the harness hold: bytes of answers and archives are counted, whatever it asks for."""

from __future__ import annotations

import gc
import threading
from collections.abc import Iterator

import pytest

from cooperbench.collaboration import Bus, BusMailbox, Relay, client_files, outbox
from cooperbench.collaboration.outbox import Ledger, Outbox, pieces
from cooperbench.collaboration.requests import AT_ONCE, LONGEST, PAGE, Answer, read_call, serve
from cooperbench.eval.backends import shell
from cooperbench.eval.backends.base import Completed
from cooperbench.eval.backends.local import LocalBackend
from cooperbench.eval.backends.local.sandbox import LocalSandbox
from tests.unit.collaboration.storms import flood
from tests.unit.collaboration.teams import Team

MIB = 1024 * 1024
CALLS = 8

GREEDY = """#!/bin/sh
# Asks for the same over and over, many at once, and never says that an answer has come.
read -r last </var/spool/coop/last || last=100000
echo $((last + 256)) >/var/spool/coop/last
n=0
while [ $n -lt 256 ]; do n=$((n + 1)); echo "$((last + n)) $(cat /var/spool/coop/wish)"; done
"""


class Weighed:
    """A sandbox that keeps count of what is held for it when it is called, and of what it is sent at once."""

    def __init__(self, sandbox: LocalSandbox) -> None:
        self._sandbox = sandbox
        self.calls = 0
        self.held = self.sent = 0
        self.enough = threading.Event()

    def run(self, argv, **options) -> Completed:
        self.held = max(self.held, sum(weights()))
        self.calls += 1
        if self.calls > CALLS:
            self.enough.set()
        return self._sandbox.run(argv, **options)

    def exec(self, *args: str) -> Completed:
        return self.run(args)

    def put_archive(self, directory: str, archive: bytes) -> None:
        self.sent = max(self.sent, len(archive))
        self._sandbox.put_archive(directory, archive)

    def get_archive(self, directory: str, limit: int) -> bytes:
        return self._sandbox.get_archive(directory, limit)

    def terminate(self) -> None:
        self._sandbox.terminate()


def weights() -> Iterator[int]:
    """Of all answers that anything in this process still refers to: their texts, and files as if each had its own."""
    for thing in gc.get_objects():
        if isinstance(thing, Answer):
            yield len(thing.text) + sum(map(len, thing.files.values()))


@pytest.fixture
def greedy(backend: LocalBackend) -> Iterator[tuple[Team, Weighed]]:
    """agent1's sandbox is greedy and weighed."""
    team = Team(backend)
    yield team, Weighed(team.boxes["agent1"])
    team.end()


def let_it_ask(greedy: tuple[Team, Weighed], wish: str) -> Weighed:
    team, weighed = greedy
    for name, box in team.boxes.items():
        shell.put_files(box, client_files(team.bus.means))
        if name == "agent1":
            hostile = {"/var/spool/coop/relay.sh": GREEDY.encode(), "/var/spool/coop/wish": wish.encode()}
            shell.put_files(box, hostile)
        Relay(weighed if name == "agent1" else box, BusMailbox(team.bus, name)).start()
    assert weighed.enough.wait(240)
    return weighed


def test_answers_that_are_never_taken_are_not_piled_up(greedy: tuple[Team, Weighed]) -> None:
    BusMailbox(greedy[0].bus, "agent2").append_note("x" * 60_000)
    for _ in range(3):
        BusMailbox(greedy[0].bus, "agent2").append_note("y" * 60_000)
    weighed = let_it_ask(greedy, "bm90ZSBzaG93Cg==")  # note show
    assert outbox.ROOM <= weighed.held <= outbox.ROOM + MIB
    done = greedy[0].coop("agent2", "note")  # nobody else is held up
    assert done.stdout.count(b"y") == 180_000


def test_branches_are_packed_a_few_at_a_time(greedy: tuple[Team, Weighed]) -> None:
    BusMailbox(greedy[0].bus, "agent2").push(b"b" * 3 * MIB)
    weighed = let_it_ask(greedy, "ZmV0Y2gK")  # fetch
    assert 3 * MIB < weighed.sent < 5 * MIB
    assert weighed.held <= outbox.ROOM + 3 * MIB


def test_who_takes_its_answers_gets_all_of_them(team: Team) -> None:
    """More at once than has room: what is not looked at now is later."""
    team.start()
    for _ in range(4):
        BusMailbox(team.bus, "agent2").append_note("z" * 65_000)
    answers = flood(team, "agent1", ["note show\n"] * 60, depth=60)  # 15 MB
    assert [answer.count("z") for answer in answers] == [260_000] * 60


def test_an_inbox_that_is_too_full_is_read_a_page_at_a_time() -> None:
    bus = Bus(["agent1", "agent2"])
    for number in range(42):
        BusMailbox(bus, "agent1").send("agent2", f"{number}\n" + "\n" * 60_000)
    pages: list[Answer] = []
    while not pages or pages[-1].messages:
        answer = serve(b"inbox 0\n", BusMailbox(bus, "agent2"), bytes)
        assert isinstance(answer, Answer)
        assert answer.size <= PAGE + 4096
        pages.append(answer)
    told = [page.text.endswith("(there may be more: coop inbox)") for page in pages]
    assert told == [True] * (len(pages) - 2) + [False] * 2
    read = [message.text.split("\n")[0] for page in pages for message in page.messages]
    assert read == [str(number) for number in range(42)]


def test_a_list_that_is_too_long_is_cut() -> None:
    bus = Bus(["agent1", "agent2"])
    mailbox = BusMailbox(bus, "agent1")
    mailbox.add_task("one")
    for _ in range(40):
        mailbox.update_task(1, "\n".join("x" * 32_000))
    answer = serve(b"task list\n", mailbox, bytes)
    assert isinstance(answer, Answer)
    assert answer.size <= PAGE + 4096
    assert answer.text.endswith("\n(the list is longer than can be shown)")


def test_requests_of_one_call_are_counted_and_measured() -> None:
    many = b"".join(b"request%d d2hv\n" % number for number in range(AT_ONCE + 5))
    call = read_call(b"=answered1\n" + many)
    assert (len(call.requests), call.more, call.answered) == (AT_ONCE, True, {"answered1"})
    long = read_call(b"request1 " + b"d2hv" * (LONGEST // 4) + b"\nrequest2 d2hv")
    assert long.requests == (("request2", b"who"),)
    assert not long.more


def test_a_request_is_taken_up_once() -> None:
    ledger = Ledger()
    assert ledger.begin("a")
    assert not ledger.begin("a")
    ledger.end("a")
    assert not ledger.begin("a")  # a call that was under way when it was answered may still tell of it
    for number in range(10_000):
        ledger.end(str(number))
    assert ledger.begin("a")  # long ago: not remembered for ever


def test_the_outbox_knows_what_it_holds() -> None:
    kept = Outbox(room=10_000)
    for name in "abc":
        kept.add(name, Answer(0, "x" * 5000))
    assert kept.full
    assert [name for name, _ in kept.batch()] == ["a", "b", "c"]
    assert kept.drop("b") is not None
    assert kept.drop("b") is None
    assert [name for name, _ in kept.batch()] == ["a", "c"]
    for name in "ac":
        kept.drop(name)
    assert (kept.held, len(kept), kept.full, kept.batch()) == (0, 0, False, [])
    parts = list(pieces({"a": b"x" * 3 * MIB, "b": b"x" * 3 * MIB, "c": b"x"}))
    assert [list(part) for part in parts] == [["a"], ["b", "c"]]
    assert list(pieces({})) == []
