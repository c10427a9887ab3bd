"""Images that have few programs, or one: what is missing is said in one line."""

from __future__ import annotations

import pytest

from cooperbench.errors import BackendError
from cooperbench.eval.backends import shell
from cooperbench.eval.backends.base import Completed, Sandbox
from tests.unit.collaboration.teams import SHELLS, Team

FEW = "/tmp/few"
COOP = ["base64", "cat", "head", "ln", "mkfifo", "mktemp", "rm", "tail", "tr", "wc"]
"""What `coop` needs, but for git."""
BARE = [name for name in SHELLS if name != "busybox"]  # which has everything in it


def only(team: Team, agent: str, *programs: str) -> None:
    """From now on `FEW` in this agent's sandbox holds these programs."""
    links = "; ".join(f"ln -s $(command -v {program}) {FEW}" for program in programs) or ":"
    done = team.run(agent, f"mkdir -p {FEW} && {links}")
    assert done.returncode == 0, done.stderr


def coop(team: Team, by: str, *argv: str, cwd: str | None = None) -> Completed:
    """`coop` where there is nothing but what `only` has put there."""
    command = [f"/bin/{by}", "/usr/local/bin/coop", *argv]
    return shell.run(team.boxes["agent1"], command, env={"PATH": FEW}, cwd=cwd, timeout=120)


@pytest.mark.parametrize("by", BARE)
def test_nothing_but_a_shell(team: Team, by: str) -> None:
    team.start()
    only(team, "agent1")
    refused = coop(team, by, "send", "agent2", "x")
    assert (refused.returncode, refused.stdout) == (1, b"")
    assert refused.stderr == b"coop: this image has no base64, which coop needs\n"
    offered = coop(team, by, "--help")
    assert (offered.returncode, offered.stderr) == (0, b"")
    assert offered.stdout == team.coop("agent1", "--help").stdout
    assert coop(team, by, "dance").stderr == b"coop: 'dance' is unknown (coop --help)\n"
    assert coop(team, by, "push").stderr == b"coop: there is no git in this sandbox\n"
    assert coop(team, by, "fetch").stderr == b"coop: there is no git in this sandbox\n"
    assert b"needs python3" in coop(team, by, "mcp").stderr
    assert team.bus.timeline() == ()


@pytest.mark.parametrize("by", BARE)
@pytest.mark.parametrize("missing", [None, *COOP])
def test_one_program_is_missing(team: Team, by: str, missing: str | None) -> None:
    """Without any of them there is one line; with all of them, and nothing else, `coop` works."""
    team.start()
    only(team, "agent1", *(program for program in COOP if program != missing))
    done = coop(team, by, "send", "agent2", "x")
    if missing is None:
        assert (done.returncode, done.stdout, done.stderr) == (0, b"sent to agent2\n", b"")
    else:
        assert (done.returncode, done.stdout) == (1, b"")
        assert done.stderr == f"coop: this image has no {missing}, which coop needs\n".encode()


class Bare:
    """A sandbox whose image has nothing but a shell."""

    def __init__(self, sandbox: Sandbox) -> None:
        self._sandbox = sandbox

    def run(self, argv, **options) -> Completed:
        return shell.run(self._sandbox, ["/bin/sh", *argv[1:]], **{**options, "env": {"PATH": FEW}})

    def exec(self, *args: str) -> Completed:
        return self.run(args)

    def terminate(self) -> None:
        self._sandbox.terminate()


def test_an_image_that_agents_cannot_work_together_in_fails_its_trial_before_they_begin(team: Team) -> None:
    for agent in team.boxes:
        only(team, agent, "mkdir", "chmod")
    with pytest.raises(BackendError) as caught:
        team.start(Bare)
    said = "relay.sh ended with 1: the image has no head, which agents need to work together"
    assert str(caught.value) == said
