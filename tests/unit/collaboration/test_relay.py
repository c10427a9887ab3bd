"""`coop` in real sandboxes, connected by nothing but `exec`."""

from __future__ import annotations

import itertools
import threading
import time

import pytest

from cooperbench.collaboration import BusMailbox, client_files, relay
from cooperbench.collaboration.bus import EVERYTHING
from cooperbench.errors import BackendError
from cooperbench.eval.backends import shell
from cooperbench.eval.backends.base import Completed, Sandbox
from tests.unit.collaboration.teams import SHELLS, Team


@pytest.mark.parametrize("by", SHELLS)
def test_a_conversation(team: Team, by: str) -> None:
    team.start()
    text = "it's \"quoted\" $(touch /tmp/ran) `x` \\n <<'EOF'\nline 2\n--wait"
    sent = team.coop("agent1", "send", "agent2", text, by=by)
    assert (sent.returncode, sent.stdout, sent.stderr) == (0, b"sent to agent2\n", b"")
    assert team.bus.journal()[0].message.text == text
    read = team.coop("agent2", "inbox", by=by)
    assert read.stdout.startswith(b"from agent1 at ")
    assert "\n".join(f"  {line}" for line in text.splitlines()) in read.stdout_read()
    assert team.coop("agent2", "inbox", by=by).stdout == b"no unread messages\n"
    assert team.coop("agent2", "broadcast", "-", stdin=b"to all\n\xff", by=by).returncode == 0
    assert b"  to all\n" in team.coop("agent1", "inbox", "--wait", "100", by=by).stdout
    assert team.coop("agent1", "who", by=by).stdout == b"agent1  you\nagent2  at work\n"
    assert shell.run(team.boxes["agent1"], ["ls", "/tmp/ran"]).returncode != 0


@pytest.mark.parametrize("by", SHELLS)
def test_wrong_usage_and_refusals(team: Team, by: str) -> None:
    team.start()
    wrong = "", "dance", "send agent2", "send agent/2 x", "inbox --wait x", "who else"
    for argv in (*(words.split() for words in wrong), ["send", "agent2", ""]):
        done = team.coop("agent1", *argv, by=by)
        assert done.returncode == 2, argv
        assert b"coop --help" in done.stderr
    unknown = team.coop("agent1", "send", "agent9", "x", by=by)
    assert unknown.returncode == 1
    assert b"no agent 'agent9'" in unknown.stderr
    assert team.coop("agent1", "--help", by=by).stdout.startswith(
        b"coop: work together with the other agents"
    )


def test_the_longest_message_and_one_more_byte(team: Team) -> None:
    team.start()
    assert team.coop("agent1", "send", "agent2", "-", stdin=b"x" * 65536).returncode == 0
    too_long = team.coop("agent1", "send", "agent2", "-", stdin=b"x" * 65537)
    assert too_long.returncode == 2
    assert b"65537 bytes" in too_long.stderr
    assert team.coop("agent2", "inbox").stdout.count(b"x") == 65536
    assert len(team.bus.journal()) == 1


def test_waiting_does_not_hold_others_up(team: Team) -> None:
    team.start()
    waiting: list[Completed] = []
    waiter = threading.Thread(target=lambda: waiting.append(team.coop("agent1", "inbox", "--wait", "100")))
    waiter.start()
    time.sleep(0.2)
    assert team.coop("agent1", "send", "agent2", "question").returncode == 0
    assert b"question" in team.coop("agent2", "inbox", "--wait", "100").stdout
    BusMailbox(team.bus, "agent2").send("agent1", "answer")
    waiter.join(120)
    assert b"  answer\n" in waiting[0].stdout


def test_waiting_ends_when_the_teammate_has_finished(team: Team) -> None:
    team.start()
    threading.Timer(0.2, team.bus.finish, ["agent2"]).start()
    assert (
        team.coop("agent1", "inbox", "--wait", "900").stdout == b"no unread messages (agent2 has finished)\n"
    )
    refused = team.coop("agent1", "send", "agent2", "x")
    assert refused.returncode == 1
    assert b"agent2 has finished" in refused.stderr


@pytest.mark.parametrize("signal", ["TERM", "KILL"])
def test_a_waiting_call_can_be_ended(team: Team, signal: str) -> None:
    team.start()
    waiting = ["timeout", "-s", signal, "0.3", "coop", "inbox", "--wait", "900"]
    assert not shell.run(team.boxes["agent1"], waiting, timeout=120).timed_out


def test_an_open_call_is_made_anew(team: Team) -> None:
    team.start(patience=1)
    threading.Timer(1.5, BusMailbox(team.bus, "agent2").send, ["agent1", "at last"]).start()
    assert b"  at last\n" in team.coop("agent1", "inbox", "--wait", "100").stdout
    for n in range(8):
        time.sleep(0.2)
        assert team.coop("agent1", "send", "agent2", str(n)).returncode == 0
    assert [p.message.text for p in team.bus.journal()] == ["at last", *map(str, range(8))]


def test_what_a_killed_reader_would_have_got_is_kept(team: Team) -> None:
    team.start()
    killed = shell.run(
        team.boxes["agent2"], ["timeout", "-s", "KILL", "0.5", "coop", "inbox", "--wait", "60"]
    )
    assert killed.returncode != 0
    BusMailbox(team.bus, "agent1").send("agent2", "kept")
    assert b"  kept\n" in team.coop("agent2", "inbox", "--wait", "100").stdout


def test_a_call_before_the_harness_listens_is_answered_when_it_does(team: Team) -> None:
    for box in team.boxes.values():
        shell.put_files(box, client_files(EVERYTHING))
    done: list[Completed] = []
    early = threading.Thread(target=lambda: done.append(team.coop("agent1", "send", "agent2", "early")))
    early.start()
    time.sleep(0.3)
    assert not done
    team.start()
    early.join(120)
    assert done[0].returncode == 0


class Flaky:
    """A sandbox whose every third answer gets lost after the command has run."""

    def __init__(self, sandbox: Sandbox) -> None:
        self._sandbox = sandbox
        self._calls = itertools.count(1)

    def run(self, argv, **options) -> Completed:
        done = shell.run(self._sandbox, argv, **options)
        if next(self._calls) % 3 == 0:
            raise BackendError("the connection broke")
        return done

    def exec(self, *args: str) -> Completed:
        return self.run(args)

    def terminate(self) -> None:
        self._sandbox.terminate()


def test_every_request_is_served_once_when_calls_get_lost(team: Team) -> None:
    team.start(Flaky)
    for n in range(6):
        assert team.coop("agent1", "send", "agent2", f"number {n}").returncode == 0
    assert [posting.message.text for posting in team.bus.journal()] == [f"number {n}" for n in range(6)]


def test_many_calls_at_once(team: Team) -> None:
    team.start()
    script = 'for n in 1 2 3 4 5 6 7 8 9 10 11 12; do coop send agent2 "n$n" & done; wait'
    assert shell.run(team.boxes["agent1"], ["sh", "-c", script], timeout=120).returncode == 0
    assert sorted(p.message.text for p in team.bus.journal()) == sorted(f"n{n}" for n in range(1, 13))
    assert team.coop("agent2", "inbox").stdout.count(b"from agent1") == 12


def test_a_hostile_spool_does_not_stop_the_harness(team: Team) -> None:
    team.start()
    mess = (
        "cd /var/spool/coop; echo junk >ready/junk; ln -s /etc/passwd ready/aaaaaaaaaa; mkdir ready/bbbbbbbbbb; "
        "ln -s /nowhere ready/cccccccccc; head -c 300000 /dev/urandom >work/big; "
        "ln -s /var/spool/coop/work/big ready/dd; "
        "echo 1<>bell"
    )
    shell.run(team.boxes["agent1"], ["sh", "-c", mess])
    assert team.coop("agent1", "send", "agent2", "still here").returncode == 0
    assert [posting.message.text for posting in team.bus.journal()] == ["still here"]


def test_nothing_is_left_running(team: Team) -> None:
    idle = names(team.boxes["agent1"])
    team.start()
    for n in range(3):
        team.coop("agent1", "send", "agent2", str(n))
    until = time.monotonic() + 60
    while (left := names(team.boxes["agent1"]) - idle) and time.monotonic() < until:
        time.sleep(0.05)  # the relay is still putting things away
    assert left == set()


def names(box: Sandbox) -> set[str]:
    """Of the programs that run, but for the relay's shell and what looks."""
    found = shell.run(box, ["sh", "-c", "cat /proc/[0-9]*/comm 2>/dev/null"]).stdout_read().split()
    return set(found) - {"sh", "cat"}


class Broken(Flaky):
    """A sandbox that is there, and after one answer gives none."""

    def run(self, argv, **options) -> Completed:
        if next(self._calls) > 1:
            raise BackendError("the connection broke")
        return shell.run(self._sandbox, argv, **options)


class Unreachable(Flaky):
    """One that never answers."""

    def run(self, argv, **options) -> Completed:
        del argv, options
        raise BackendError("no connection")


def test_a_sandbox_that_cannot_be_reached_is_said_before_its_agent_begins(
    team: Team, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(relay, "_RETRIES", 1)
    with pytest.raises(BackendError, match="no connection"):
        team.start(Unreachable)


def test_a_sandbox_that_cannot_be_reached_any_more_is_the_trials_failure(
    team: Team, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its agent would go on without a word from its teammate, and its result would look like any other."""
    monkeypatch.setattr(relay, "_RETRIES", 1)
    team.bus.check()
    team.start(Broken)
    deadline = time.monotonic() + 60
    while works(team) and time.monotonic() < deadline:
        time.sleep(0.05)
    with pytest.raises(BackendError, match="the connection broke"):
        team.bus.check()


def works(team: Team) -> bool:
    try:
        team.bus.check()
    except BackendError:
        return False
    return True


class OnBusybox:
    """A sandbox whose programs are busybox's, as in many small images."""

    def __init__(self, sandbox: Sandbox) -> None:
        self._sandbox = sandbox

    def run(self, argv, **options) -> Completed:
        return shell.run(self._sandbox, argv, **{**options, "env": {"PATH": "/tmp/busybox"}})

    def exec(self, *args: str) -> Completed:
        return self.run(args)

    def terminate(self) -> None:
        self._sandbox.terminate()


def test_busybox_is_enough(team: Team) -> None:
    for name in team.boxes:
        done = team.run(name, "mkdir /tmp/busybox && $(command -v busybox) --install -s /tmp/busybox")
        assert done.returncode == 0, done.stderr
    team.start(OnBusybox)
    for text in ("short", "long " * 2000):
        sent = OnBusybox(team.boxes["agent1"]).run(
            ["sh", "/usr/local/bin/coop", "send", "agent2", text], timeout=60
        )
        assert (sent.returncode, sent.stderr) == (0, b"")
        read = OnBusybox(team.boxes["agent2"]).run(
            ["sh", "/usr/local/bin/coop", "inbox", "--wait", "60"], timeout=90
        )
        assert text in read.stdout_read()
    assert len(team.bus.journal()) == 2
