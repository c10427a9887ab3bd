"""A backend as a stranger would write it from the documentation: `create_sandbox`, `exec`, `terminate`, no more.

It really executes, in a sandbox of another backend whose fast roads it hides, so everything `shell.py` does over a
bare `exec` is done for real.
"""

from __future__ import annotations

from dataclasses import dataclass

from cooperbench.eval.backends.base import EvalBackend, ExecResult, Sandbox


@dataclass
class Result:
    """An `ExecResult` that keeps text."""

    returncode: int
    out: str
    err: str

    def stdout_read(self) -> str:
        return self.out

    def stderr_read(self) -> str:
        return self.err


class ExecOnlySandbox:
    """The three protocols of the seam and nothing else."""

    def __init__(self, sound: Sandbox) -> None:
        self.sound = sound

    def exec(self, *args: str) -> ExecResult:
        done = self.sound.exec(*args)
        return Result(done.returncode, done.stdout_read(), done.stderr_read())

    def terminate(self) -> None:
        self.sound.terminate()


class ExecOnlyBackend:
    """Makes them."""

    def __init__(self, sound: EvalBackend) -> None:
        self.sound = sound

    def create_sandbox(self, image: str, timeout: int = 600, workdir: str = "/workspace") -> Sandbox:
        return ExecOnlySandbox(self.sound.create_sandbox(image, timeout, workdir))
