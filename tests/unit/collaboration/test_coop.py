"""What `coop` offers beside messages, in real sandboxes: questions, the task list, the scratchpad."""

from __future__ import annotations

import re
import threading
import time
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from cooperbench.agents import prompting
from cooperbench.agents.base import Assignment, Means
from cooperbench.collaboration import BusMailbox
from cooperbench.collaboration.bus import EVERYTHING
from cooperbench.collaboration.inside import mcp
from cooperbench.eval.backends.base import Completed
from cooperbench.eval.backends.local import LocalBackend
from tests.unit.collaboration.teams import SHELLS, Team


@pytest.mark.parametrize("by", SHELLS)
def test_a_question_and_its_answer(team: Team, by: str) -> None:
    team.start()
    done: list[Completed] = []
    asker = threading.Thread(
        target=lambda: done.append(
            team.coop("agent1", "ask", "agent2", "which $file?", "--wait", "90", by=by)
        )
    )
    asker.start()
    assert b"  which $file?\n" in team.coop("agent2", "inbox", "--wait", "90", by=by).stdout
    assert team.coop("agent2", "send", "agent1", "parser.py", by=by).returncode == 0
    asker.join(90)
    assert done[0].returncode == 0
    assert done[0].stdout.startswith(b"from agent2 at ")
    assert done[0].stdout.endswith(b":\n  parser.py\n")


def test_a_question_without_an_answer(team: Team) -> None:
    team.start()
    late = team.coop("agent1", "ask", "agent2", "anybody?", "--wait", "0")
    assert (late.returncode, late.stdout) == (3, b"")
    assert b"no answer yet" in late.stderr
    threading.Timer(0.2, team.bus.finish, ["agent2"]).start()
    gone = team.coop("agent1", "ask", "agent2", "still there?", "--wait", "900")
    assert gone.returncode in (1, 3)  # 1: it had finished before it was asked
    assert b"agent2 has finished" in gone.stderr


def test_what_a_killed_asker_would_have_got_is_kept(team: Team) -> None:
    team.start()
    killed = team.run("agent1", "timeout -s KILL 1 coop ask agent2 'question' --wait 900")
    assert killed.returncode != 0
    BusMailbox(team.bus, "agent2").send("agent1", "answer")
    assert b"  answer\n" in team.coop("agent1", "inbox", "--wait", "60").stdout


@pytest.mark.parametrize("by", SHELLS)
def test_the_task_list(team: Team, by: str) -> None:
    team.start()

    def coop(*argv: str) -> tuple[int, str]:
        done = team.coop("agent1", *argv, by=by)
        return done.returncode, (done.stdout + done.stderr).decode()

    assert coop("task", "list") == (0, "no tasks yet: coop task add TITLE\n")
    assert coop("task", "add", 'the "parser" `x`') == (0, '1 [open] the "parser" `x`\n')
    assert coop("task", "add", "the writer")[0] == 0
    assert coop("task", "claim") == (0, '1 [claimed agent1] the "parser" `x`\n')
    assert coop("task", "claim", "02") == (0, "2 [claimed agent1] the writer\n")
    assert team.coop("agent2", "task", "claim", "1", by=by).stderr == b"coop: task 1 is agent1's\n"
    assert coop("task", "update", "2", "half\nway")[0] == 0
    assert coop("task", "done", "1")[0] == 0
    assert coop("task", "done", "2", "tests pass")[0] == 0
    assert coop("task", "claim") == (1, "coop: no open task on the list\n")
    assert team.coop("agent2", "task", "list", by=by).stdout_read().splitlines() == [
        '1 [done agent1] the "parser" `x`',
        "2 [done agent1] the writer",
        "    agent1: half",
        "    way",
        "    agent1: tests pass",
    ]
    for argv in ("task", "task dance", "task add", "task claim x", "task update 1", "task done"):
        assert coop(*argv.split())[0] == 2, argv


@pytest.mark.parametrize("by", SHELLS)
def test_the_scratchpad(team: Team, by: str) -> None:
    team.start()
    assert team.coop("agent1", "note", by=by).stdout == b"the scratchpad is empty\n"
    assert team.coop("agent1", "note", "append", "-", stdin=b"plan:\n$(x)", by=by).returncode == 0
    page = team.coop("agent2", "note", "show", by=by).stdout
    assert page.startswith(b"agent1 wrote at ")
    assert page.endswith(b"UTC:\n  plan:\n  $(x)\n")
    assert team.coop("agent2", "note", "replace", "anew", by=by).returncode == 0
    assert b"plan" not in team.coop("agent1", "note", by=by).stdout
    assert team.coop("agent1", "note", "dance", by=by).returncode == 2


def test_what_is_switched_off_is_refused_by_name(backend: LocalBackend) -> None:
    team = Team(backend, means=Means(notes=True)).start()
    try:
        for argv, said in (
            ("send agent2 x", b"messages are"),
            ("ask agent2 x", b"messages are"),
            ("inbox --wait 900", b"messages are"),
            ("task list", b"the task list is"),
        ):
            done = team.coop("agent1", *argv.split())
            assert (done.returncode, done.stderr) == (1, b"coop: " + said + b" switched off in this run\n")
        assert team.coop("agent1", "note", "append", "x").returncode == 0
        offered = team.coop("agent1", "--help").stdout_read()
        assert "coop note append" in offered
        assert not any(f"coop {part}" in offered for part in ("send", "ask", "task", "push", "mcp"))
        assert team.coop("agent1", "mcp").stderr == b"coop: coop mcp is switched off in this run\n"
    finally:
        team.end()


def told(means: Means) -> list[str]:
    """Every call of `coop` that an agent with these means is told of."""
    assignment = Assignment("agent1", ("agent2",), "r", 1, (1,), (1, 2), "team", "", Path(), means=means)
    text = prompting.prompt(assignment)
    return re.findall(r"`(coop [^`]*)`", text) + re.findall(r"^    (coop .*?)(?:  .*)?$", text, re.MULTILINE)


def test_every_call_that_agents_are_told_of_is_one_that_coop_knows(team: Team) -> None:
    team.start()
    team.bus.finish("agent2")  # nothing is waited for
    calls = told(EVERYTHING)
    assert {call.split()[1] for call in calls} == {
        "send", "broadcast", "inbox", "who", "ask", "push", "fetch", "task", "note"
    }  # fmt: skip
    for call in calls:
        done = team.run("agent1", f"cd / && {call.replace('[NUMBER]', '').replace('NUMBER', '1')}")
        assert done.returncode != 2, (call, done.stderr)
        assert b"coop --help" not in done.stderr


OFFERED = {"messages": "send", "ask": "ask", "tasks": "task", "notes": "note", "git": "push"}


@pytest.mark.parametrize("part", OFFERED)
def test_what_is_switched_off_is_told_of_nowhere_and_refused(backend: LocalBackend, part: str) -> None:
    """Each means alone taken away: the prompt, `coop --help` and the MCP server are silent, and `coop` refuses it."""
    means = replace(EVERYTHING, **{part: False})
    verb = OFFERED[part]
    team = Team(backend, means=means).start()
    try:
        assert verb in {call.split()[1] for call in told(EVERYTHING)}
        assert verb not in {call.split()[1] for call in told(means)}
        assert f"coop {verb}" not in team.coop("agent1", "--help").stdout_read()
        left = "\n".join(name for name, on in asdict(means).items() if on)
        assert verb not in {name.split("_")[0] for name in mcp.offered(left)}
        words = {"messages": "send agent2 x", "ask": "ask agent2 x", "tasks": "task list", "notes": "note"}
        if part != "git":  # which needs a repository: test_git.py
            refused = team.coop("agent1", *words[part].split())
            assert (refused.returncode, b"switched off in this run" in refused.stderr) == (1, True)
    finally:
        team.end()


def test_what_is_done_has_its_time_and_its_order(team: Team) -> None:
    team.start()
    before = time.time()
    for argv in ("task add one", "task claim", "note append x", "send agent2 y", "inbox"):
        team.coop("agent1", *argv.split())
    team.coop("agent2", "inbox")
    entries = team.bus.timeline()
    assert [entry.kind for entry in entries] == ["task", "task", "note", "message", "read"]
    times = [entry.at for entry in entries]
    assert times == sorted(times)
    assert before - 1 < times[0] <= times[-1] < time.time() + 1
