"""Agents of one trial: together from the start, and none left behind."""

from __future__ import annotations

import io
import tarfile
import threading
import time
from pathlib import Path

import pytest

from cooperbench.agents.base import AgentResult, Assignment
from cooperbench.collaboration import Bus
from cooperbench.crew import Crew
from cooperbench.errors import AgentError, SandboxLost, SandboxStartError
from cooperbench.eval.backends.base import Completed, SandboxSpec
from cooperbench.runner.seat import Seat, Work
from cooperbench.runner.team import InterruptedTrialError, Team

SPEC = SandboxSpec("image")


class Box:
    """Says yes to everything; its agent's patch is its name."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.ended = threading.Event()

    def run(self, argv, **options) -> Completed:
        del argv, options
        if self.ended.is_set():
            raise SandboxLost(f"{self.name} is gone")
        return Completed(0, b"0" * 40 + b"\n.git/objects\n")

    def exec(self, *args: str) -> Completed:
        return self.run(args)

    def put_archive(self, directory: str, archive: bytes) -> None: ...

    def get_archive(self, directory: str, limit: int) -> bytes:
        assert directory
        assert limit
        self.run([])
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w") as tar:
            entry = tarfile.TarInfo("patch")
            entry.size = len(self.name)
            tar.addfile(entry, io.BytesIO(self.name.encode()))
        return buffer.getvalue()

    def terminate(self) -> None:
        self.ended.set()


class Boxes:
    """A backend of them; the image called `broken` cannot be had, and takes its time to say so."""

    def __init__(self, broken: int | None = None) -> None:
        self.made: list[Box] = []
        self.broken = broken

    def create(self, spec: SandboxSpec) -> Box:
        number = int(spec.labels["number"])
        if number == self.broken:
            time.sleep(0.1)
            raise SandboxStartError("no room")
        self.made.append(Box(f"box{number}"))
        return self.made[-1]

    def create_sandbox(self, image: str, timeout: int = 600, workdir: str = "/workspace") -> Box:
        raise NotImplementedError


class Worker:
    """An agent that does as it is told."""

    uses_messages = False

    def __init__(self, act=lambda: None) -> None:
        self.act = act

    def run(self, assignment, sandbox, mailbox) -> AgentResult:
        del assignment, sandbox, mailbox
        self.act()
        return AgentResult()


class Scene:
    def __init__(self, *acts, broken: int | None = None, told: threading.Event | None = None) -> None:
        names = [f"agent{n}" for n in range(1, len(acts) + 1)]
        self.backend = Boxes(broken)
        self.told: list[tuple[str, str]] = []
        self._told = told or threading.Event()
        self.bus = Bus(names)
        seats = []
        for number, (name, act) in enumerate(zip(names, acts, strict=True), 1):
            assignment = Assignment(name, (), "r", 0, (number,), (1, 2), "coop", "", Path(), timeout=0.2)
            seats.append(Seat(Worker(act), assignment, self.bus))
        self.team = Team(seats, Crew(), self.tell)

    def tell(self, seat: Seat, work: Work) -> None:
        self.told.append((seat.agent_id, work.result.status))
        self._told.set()

    def spec(self, seat: Seat) -> SandboxSpec:
        return SandboxSpec("image", labels={"number": seat.agent_id.removeprefix("agent")})

    def work(self, seconds: float = 30) -> list[Work]:
        return list(self.team.work(self.backend, self.spec, seconds).values())


def test_each_has_its_own_patch_in_order() -> None:
    told = threading.Event()
    scene = Scene(lambda: told.wait(30), lambda: None, told=told)
    assert [work.taken.patch for work in scene.work()] == [b"box1", b"box2"]
    assert scene.told == [("agent2", "Submitted"), ("agent1", "Submitted")]
    assert all(box.ended.is_set() for box in scene.backend.made)


def test_they_start_together() -> None:
    together = threading.Barrier(3)
    scene = Scene(*[lambda: together.wait(20)] * 3)
    assert [work.result.status for work in scene.work()] == ["Submitted"] * 3


def test_one_without_a_sandbox_ends_all_and_nobody_has_begun() -> None:
    began: list[int] = []
    scene = Scene(lambda: began.append(1), lambda: began.append(2), lambda: began.append(3), broken=2)
    with pytest.raises(SandboxStartError, match="no room"):
        scene.work()
    scene.team.close()
    assert began == []
    assert all(box.ended.wait(10) for box in scene.backend.made)


def test_a_failing_framework_is_its_agents_status() -> None:
    def fails() -> None:
        raise AgentError("no credentials")

    scene = Scene(lambda: None, fails)
    works = scene.work()
    assert [work.result.status for work in works] == ["Submitted", "Error"]
    assert works[1].result.error == "no credentials"
    assert works[1].taken.patch == b""
    assert "in fails" in works[1].result.messages[0]["traceback"]
    assert sorted(scene.told) == [("agent1", "Submitted"), ("agent2", "Error")]


def test_a_lost_sandbox_is_nobodys_status() -> None:
    def lost() -> None:
        raise SandboxLost("the host vanished")

    scene = Scene(lambda: None, lost)
    with pytest.raises(SandboxLost, match="the host vanished"):
        scene.work()


def test_who_does_not_come_back_is_ended_with_what_it_has() -> None:
    forever = threading.Event()
    scene = Scene(forever.wait, lambda: None)
    works = scene.work(seconds=3)
    forever.set()
    assert [work.result.status for work in works] == ["LimitsExceeded", "Submitted"]
    assert works[0].taken.patch == b"box1"
    assert "0.2 s" in (works[0].result.error or "")
    assert sorted(scene.told) == [("agent1", "LimitsExceeded"), ("agent2", "Submitted")]
    assert scene.bus.finished("agent1")  # whoever waits for it need not


def test_halt() -> None:
    forever = threading.Event()
    scene = Scene(forever.wait, forever.wait)
    threading.Timer(0.1, scene.team.halt).start()
    with pytest.raises(InterruptedTrialError):
        scene.work()
    scene.team.close()
    forever.set()
    assert all(box.ended.is_set() for box in scene.backend.made)
