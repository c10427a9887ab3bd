"""Nothing is waited for at the desk: not a sandbox, not an agent, not a listener."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cooperbench import run
from cooperbench.agents.base import AgentResult
from cooperbench.dataset import demo_dataset
from cooperbench.eval.backends.base import Completed, SandboxSpec
from cooperbench.pool import desk

PATIENCE = 60
"""Seconds after which the desk is taken to be held by who waits for us."""


def at_the_desk() -> None:
    assert desk.acquire(timeout=PATIENCE), "somebody waits at the desk"
    desk.release()


class Agent:
    uses_model = False
    uses_messages = False

    def run(self, assignment: Any, sandbox: Any, mailbox: Any) -> AgentResult:
        del assignment, sandbox, mailbox
        at_the_desk()
        return AgentResult(cost=0.0)


class Box:
    """Every call takes the desk once; patches are empty, and there is no verdict to be had."""

    def run(self, argv: Any, **options: Any) -> Completed:
        del argv, options
        at_the_desk()
        return Completed(0, b"0" * 40 + b"\n.git/objects\n")

    def exec(self, *args: str) -> Completed:
        return self.run(args)

    def put_archive(self, directory: str, archive: bytes) -> None:
        del directory, archive
        at_the_desk()

    def get_archive(self, directory: str, limit: int) -> bytes:
        del limit
        at_the_desk()
        return archived({"patch": b""} if directory.startswith("/tmp/.cooperbench") else FACTS)

    def terminate(self) -> None:
        at_the_desk()


class Boxes:
    def create(self, spec: SandboxSpec) -> Box:
        del spec
        at_the_desk()
        return Box()

    def create_sandbox(self, image: str, timeout: int = 600, workdir: str = "/workspace") -> Box:
        del image, timeout, workdir
        at_the_desk()
        return Box()

    def prepare_image(self, image: str, recipe: Any) -> str:
        del image, recipe
        at_the_desk()
        return "sha256:0"


FACTS = {
    "done": b"yes\n",
    "merge": b"empty\n",
    "merge.strategy": b"git\n",
    "apply.1": b"empty\n",
    "apply.2": b"empty\n",
}


def archived(files: Mapping[str, bytes]) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as tar:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return stream.getvalue()


def test_a_run_waits_for_nothing_there(tmp_path: Path) -> None:
    summary = run(
        "desk",
        agent=f"{__name__}:Agent",
        backend=f"{__name__}:Boxes",
        concurrency=3,
        eval_concurrency=3,
        dataset_dir=demo_dataset(),
        logs_dir=tmp_path,
        progress=lambda _: at_the_desk(),
    )
    judged = summary["eval"]
    assert (summary["completed"], judged["failed"]) == (summary["total_tasks"], judged["total"])
    assert summary["total_tasks"] > 3
