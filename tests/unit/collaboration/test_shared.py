"""The task list, the scratchpad and the branches: what a team shares besides messages."""

from __future__ import annotations

import contextlib
import threading
from collections import Counter
from collections.abc import Callable

import pytest

from cooperbench.collaboration import Bus, BusMailbox, branches, journal, scratchpad, tasklist
from cooperbench.collaboration.turns import Turns
from cooperbench.errors import UsageError


@pytest.fixture
def bus() -> Bus:
    return Bus(["agent1", "agent2"], turns=Turns(iter(range(1, 10_000)).__next__))


def ends(bus: Bus) -> list[BusMailbox]:
    return [BusMailbox(bus, agent) for agent in bus.agents]


# ------------------------------------------------------------------------------------------ tasks


def test_a_task_from_its_birth_to_its_end(bus: Bus) -> None:
    lead, member = ends(bus)
    assert lead.tasks() == ()
    lead.add_task("  the\nparser ")
    assert [(t.number, t.title, t.status, t.owner) for t in member.tasks()] == [
        (1, "the parser", "open", None)
    ]
    assert member.claim_task(1).owner == "agent2"
    assert member.claim_task(1) == member.tasks()[0]  # again: nothing changes
    lead.update_task(1, "mind the\nquotes")
    done = member.finish_task(1, "all green")
    assert (done.status, done.owner, done.created_at, done.claimed_at, done.done_at) == (
        "done",
        "agent2",
        2,
        4,
        8,
    )
    assert done.remarks == ("agent1: mind the\nquotes", "agent2: all green")
    log = [(entry.agent, entry.details["action"], entry.details["task_id"]) for entry in bus.timeline()]
    assert log == [
        ("agent1", "add", 1),
        ("agent2", "claim", 1),
        ("agent1", "update", 1),
        ("agent2", "done", 1),
    ]


def test_what_cannot_be_done_with_a_task(bus: Bus) -> None:
    lead, member = ends(bus)
    with pytest.raises(UsageError, match="no open task"):
        lead.claim_task()
    lead.add_task("one")
    member.claim_task()
    for refused in (lambda: lead.claim_task(1), lambda: lead.finish_task(1)):
        with pytest.raises(UsageError, match="task 1 is agent2's"):
            refused()
    member.finish_task(1)
    for refused in (lambda: lead.claim_task(1), lambda: member.finish_task(1)):
        with pytest.raises(UsageError, match="task 1 is done, by agent2"):
            refused()
    for number in (0, 2, -1):
        with pytest.raises(UsageError, match=f"no task {number}; the list has 1"):
            lead.update_task(number, "x")
    for title in ("", " \n", "x" * (tasklist.TITLE_LIMIT + 1)):
        with pytest.raises(UsageError, match="title"):
            lead.add_task(title)
    assert [entry.details["action"] for entry in bus.timeline()] == ["add", "claim", "done"]


def test_what_a_finished_agent_left_undone_can_be_claimed(bus: Bus) -> None:
    lead, member = ends(bus)
    lead.add_task("one")
    member.claim_task(1)
    bus.finish("agent2")
    assert lead.claim_task().owner == "agent1"
    assert bus.timeline()[-1].details["before"] == "agent2"


def test_an_open_task_can_be_done_at_once(bus: Bus) -> None:
    lead, _ = ends(bus)
    lead.add_task("one")
    done = lead.finish_task(1)
    assert (done.owner, done.claimed_at) == ("agent1", done.done_at)


def test_a_list_and_its_remarks_end(bus: Bus, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tasklist, "MOST", 1)
    monkeypatch.setattr(tasklist, "REMARKS", 2)
    lead, _ = ends(bus)
    lead.add_task("one")
    with pytest.raises(UsageError, match="full: 1 tasks"):
        lead.add_task("two")
    for n in range(4):
        lead.update_task(1, str(n))
    assert lead.tasks()[0].remarks == ("agent1: 2", "agent1: 3")
    with pytest.raises(UsageError, match="65537 bytes"):
        lead.update_task(1, "x" * (journal.TEXT_LIMIT + 1))


def test_eight_claim_five_hundred_and_none_twice() -> None:
    bus = Bus([f"agent{n}" for n in range(1, 9)])
    mailboxes = ends(bus)
    for n in range(500):
        mailboxes[0].add_task(f"task {n}")
    claimed: dict[str, list[int]] = {mailbox.agent: [] for mailbox in mailboxes}
    ready = threading.Barrier(8)

    def work(mailbox: BusMailbox) -> None:
        ready.wait(30)
        while True:
            try:
                claimed[mailbox.agent].append(mailbox.claim_task().number)
            except UsageError:
                return

    threads = [threading.Thread(target=work, args=(mailbox,)) for mailbox in mailboxes]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(number for numbers in claimed.values() for number in numbers) == list(range(1, 501))
    assert Counter(task.owner for task in bus.tasks.read("agent1")) == {
        a: len(n) for a, n in claimed.items() if n
    }


# ------------------------------------------------------------------------------------------ scratchpad


def test_the_page(bus: Bus) -> None:
    one, two = ends(bus)
    assert one.read_notes() == ""
    one.append_note("first\nagent2 wrote at 00:00:09 UTC:")
    two.append_note("second")
    head = "agent1 wrote at 00:00:02 UTC:\n  first\n  agent2 wrote at 00:00:09 UTC:"
    page = f"{head}\nagent2 wrote at 00:00:03 UTC:\n  second"
    assert one.read_notes() == two.read_notes() == page
    one.replace_notes("anew")
    assert two.read_notes() == "agent1 wrote at 00:00:06 UTC:\n  anew"
    assert [entry.details["action"] for entry in bus.timeline()] == ["append", "append", "replace"]


def test_the_page_is_bounded(bus: Bus, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scratchpad, "PAGE_LIMIT", 10)
    one, two = ends(bus)
    one.append_note("é" * 4)
    with pytest.raises(UsageError, match="page is full"):
        two.append_note("abc")
    two.replace_notes("abc")
    assert "abc" in one.read_notes()


# ------------------------------------------------------------------------------------------ branches


def test_the_latest_push_is_what_others_get(bus: Bus, monkeypatch: pytest.MonkeyPatch) -> None:
    one, two = ends(bus)
    with pytest.raises(UsageError, match="agent1 has pushed nothing yet"):
        two.fetch()
    one.push(b"first")
    one.push(b"second")
    (branch,) = two.fetch("agent1")
    assert (branch.agent, branch.number, branch.bundle) == ("agent1", 2, b"second")
    with pytest.raises(UsageError, match="no agent 'agent7'"):
        two.fetch("agent7")
    with pytest.raises(UsageError, match="0 bytes"):
        one.push(b"")
    monkeypatch.setattr(branches, "BUNDLE_LIMIT", 100)
    with pytest.raises(UsageError, match="101 bytes"):
        one.push(b"x" * 101)
    monkeypatch.setattr(branches, "PUSHED", 50)
    with pytest.raises(UsageError, match="all of"):
        one.push(b"x" * 60)
    assert two.fetch()[0].bundle == b"second"
    pushes = [entry.details for entry in bus.timeline() if entry.kind == "push"]
    assert pushes == [{"push": 1, "bytes": 5}, {"push": 2, "bytes": 6}]


def test_nobody_fills_the_journal_with_nothing(bus: Bus, monkeypatch: pytest.MonkeyPatch) -> None:
    """Everything that leaves an entry is counted, however little it says."""
    one, two = ends(bus)
    one.push(b"x")
    monkeypatch.setattr(journal, "BUDGET", 1000)
    for again in (lambda: two.fetch(), lambda: one.push(b"x"), lambda: one.append_note("")):
        assert repeated(again, 10) < 5
    with pytest.raises(UsageError, match="has used up"):
        two.fetch()


def repeated(work: Callable[[], object], times: int) -> int:
    """How often it was let."""
    done = 0
    for _ in range(times):
        with contextlib.suppress(UsageError):
            work()
            done += 1
    return done
