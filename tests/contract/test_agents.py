"""What every agent keeps to, built in or from elsewhere: checked in a real sandbox, its model the scripted one."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from cooperbench.agents import get_agent
from cooperbench.agents.base import ERROR, LIMITS_EXCEEDED, AgentResult, Assignment, Means
from cooperbench.budget import Budget
from cooperbench.collaboration import Bus, BusMailbox, NoMailbox, Relay, client_files
from cooperbench.dataset import demo_dataset, load_dataset
from cooperbench.errors import AgentError, SandboxLost
from cooperbench.eval.backends import shell
from cooperbench.eval.backends.base import EvalBackend, ImageBackend, Sandbox, SandboxSpec
from cooperbench.gateway import Gateway, ModelAccess
from tests.docker import engines
from tests.loopback.models import KEY, ModelServer, Script

SUBMIT = "echo COMPLETE_TASK_AND_SUBMIT_FINAL_OUTPUT"
WORK = "printf made >made.txt; coop send agent2 'all yours' || true; cat made.txt"


@dataclass(frozen=True)
class Candidate:
    """An agent, and what its model has to say for it to write ``made.txt`` and end."""

    name: str
    commands: tuple[str, ...] = ()
    config: str | None = None

    @property
    def modelled(self) -> bool:
        """Whether it has a model."""
        return bool(getattr(get_agent(self.name), "uses_gateway", False))


CANDIDATES = {
    "gold": Candidate("gold"),
    "noop": Candidate("noop"),
    "script": Candidate("script", config=f"#!/bin/sh\n{WORK}\n"),
    "mini_swe_agent": Candidate("mini_swe_agent", (WORK, SUBMIT)),
    "claude_code": Candidate("claude_code", (WORK,)),
    "codex": Candidate("codex", (WORK,)),
    "gemini_cli": Candidate("gemini_cli", (WORK,)),
    "opencode": Candidate("opencode", (WORK,)),
}
MODELLED = [name for name, candidate in CANDIDATES.items() if candidate.commands]
WORKING = [*MODELLED, "script"]
"""Those that do what they are told, however long it takes."""


@pytest.fixture(params=CANDIDATES, name="candidate")
def _candidate(request: pytest.FixtureRequest) -> Candidate:
    candidate = CANDIDATES[request.param]
    if hasattr(get_agent(candidate.name), "image_layer") and shutil.which("npm") is None:
        engines.missing("npm is not on this machine")
    return candidate


@dataclass(frozen=True)
class Scene:
    """An agent about to begin."""

    candidate: Candidate
    assignment: Assignment
    sandbox: Sandbox
    server: ModelServer
    gateway: Gateway

    def run(self, commands: tuple[str, ...] | None = None, **changes: object) -> AgentResult:
        """Let it work, its model saying `commands`."""
        given = self.candidate.commands if commands is None else commands
        self.server.script = Script({"agent1": given})
        line = self.gateway.line("agent1", Budget().purse()) if self.candidate.modelled else None
        assignment = replace(self.assignment, line=line, **changes)  # type: ignore[arg-type]
        agent = get_agent(self.candidate.name)
        if not assignment.teammates:
            return agent.run(assignment, self.sandbox, NoMailbox())
        bus = Bus(["agent1", *assignment.teammates], means=assignment.means)
        mailbox = BusMailbox(bus, "agent1")
        shell.put_files(self.sandbox, client_files(assignment.means))
        relay = Relay(self.sandbox, mailbox)
        relay.start()
        try:
            return agent.run(assignment, self.sandbox, mailbox)
        finally:
            relay.stop()

    def made(self) -> bool:
        """Whether it left its work in the repository."""
        return shell.run(self.sandbox, ["cat", "/workspace/repo/made.txt"]).stdout == b"made"


Opened = Callable[[Candidate], Scene]


@pytest.fixture(name="scene")
def _scene(
    candidate: Candidate, sound: EvalBackend, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Scene]:
    monkeypatch.setenv("LOOPBACK_KEY", KEY)
    task = load_dataset(demo_dataset()).task("gridline_task", 3)
    assert isinstance(sound, ImageBackend)
    image = task.image
    sound.prepare_image(image, task.recipe)
    layer = getattr(get_agent(candidate.name), "image_layer", lambda *_: None)(image, None)
    if layer is not None:
        image = layer[0]
        sound.prepare_image(*layer)
    config = None
    if candidate.config is not None:
        config = tmp_path / "agent1.sh"
        config.write_text(candidate.config)
    assignment = Assignment(
        agent_id="agent1",
        teammates=("agent2",),
        repo="gridline_task",
        task_id=3,
        features=(1,),
        pair=(1, 2),
        setting="coop",
        instructions="Write made.txt. It costs $5, and {{ braces }} are no template.",
        task_path=task.path,
        config=config,
        timeout=120,
        output_dir=tmp_path / "out",
        means=Means(messages=True, refresh=True),
    )
    sandbox = shell.create(sound, SandboxSpec(image, 600))
    with ModelServer(Script({})) as server:
        gateway = Gateway(ModelAccess("openai/scripted", server.url, "LOOPBACK_KEY"))
        try:
            yield Scene(candidate, assignment, sandbox, server, gateway)
        finally:
            shell.terminate(sandbox)
            gateway.close()


def test_it_does_its_work_and_says_so(scene: Scene) -> None:
    """Work in the repository, an outcome that counts, a transcript that is JSON with moments in it."""
    result = scene.run()
    assert isinstance(result, AgentResult)
    assert (result.status, result.error) == ("Submitted", None)
    assert scene.made() or scene.candidate.name in ("gold", "noop")
    json.dumps(list(result.messages), allow_nan=False)
    if scene.candidate.modelled:
        assert result.steps > 0
        assert all(isinstance(message["timestamp"], float) for message in result.messages)
        told = json.dumps(scene.server.bodies[0])
        assert "It costs $5, and {{ braces }} are no template." in told
        assert "coop send agent2" in told


def test_alone_it_is_told_of_nobody(scene: Scene) -> None:
    result = scene.run(teammates=(), setting="solo", means=Means())
    assert result.status == "Submitted"
    assert not any(
        "coop send" in json.dumps(body).replace(json.dumps(WORK)[1:-1], "") for body in scene.server.bodies
    )


@pytest.mark.parametrize("candidate", WORKING, indirect=True)
def test_its_time_is_limited(scene: Scene) -> None:
    if scene.assignment.config is not None:
        scene.assignment.config.write_text("sleep 300\n")
    result = scene.run(("sleep 300",) * 3, timeout=4.0)
    assert result.status == LIMITS_EXCEEDED
    assert "limit" in (result.error or "")


@pytest.mark.parametrize("candidate", [*WORKING, "gold"], indirect=True)
def test_a_lost_sandbox_is_not_the_agents_doing(scene: Scene) -> None:
    shell.terminate(scene.sandbox)
    with pytest.raises(SandboxLost):
        scene.run(teammates=(), setting="solo", means=Means())


@pytest.mark.parametrize("candidate", MODELLED, indirect=True)
def test_a_model_that_refuses_is_an_error(scene: Scene) -> None:
    scene.server.failures = [400] * 50
    try:
        result = scene.run()
    except AgentError as problem:
        result = AgentResult(ERROR, error=str(problem))
    assert result.status == ERROR
    assert "not now" in (result.error or ""), result
