"""Agents in sandboxes of their own, and a bus."""

from __future__ import annotations

import shutil

from cooperbench.agents.base import Means
from cooperbench.collaboration import Bus, BusMailbox, Relay, client_files
from cooperbench.collaboration.bus import EVERYTHING
from cooperbench.eval.backends import shell
from cooperbench.eval.backends.base import Completed, EvalBackend

SHELLS = [name for name in ("sh", "bash", "busybox") if shutil.which(name)]


class Team:
    """Agents in sandboxes of their own, and a bus."""

    def __init__(
        self, backend: EvalBackend, size: int = 2, means: Means = EVERYTHING, image: str = "host"
    ) -> None:
        self.bus = Bus([f"agent{n}" for n in range(1, size + 1)], means=means)
        self.boxes = {name: backend.create_sandbox(image, 1200) for name in self.bus.agents}

    def start(self, wrap=lambda sandbox: sandbox, patience: float = 25, base: str | None = None) -> Team:
        for name, box in self.boxes.items():
            shell.put_files(box, client_files(self.bus.means, base))
            Relay(wrap(box), BusMailbox(self.bus, name), patience=patience).start()
        return self

    def coop(
        self, name: str, *argv: str, stdin: bytes | None = None, by: str = "sh", cwd: str | None = None
    ) -> Completed:
        command = [*(["busybox", "sh"] if by == "busybox" else [by]), "/usr/local/bin/coop", *argv]
        return shell.run(self.boxes[name], command, stdin=stdin, cwd=cwd, timeout=120)

    def run(self, name: str, script: str) -> Completed:
        return shell.run(self.boxes[name], ["sh", "-c", script], timeout=120)

    def end(self) -> None:
        for box in self.boxes.values():
            box.terminate()
