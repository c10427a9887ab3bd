"""What the cases of the matrix are made with, and how all of them are carried out."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Callable, Iterator
from typing import Any

from cooperbench.eval.backends.base import Completed
from cooperbench.eval.backends.local import LocalBackend, LocalSandbox

from .programs import PYTHON, SHELL

MIB = 1 << 20
PATIENCE = 120
"""Seconds that nothing here takes unless it would take for ever, however busy the machine is."""

CASES: dict[str, Callable[[Matrix], None]] = {}


def case(function: Callable[[Matrix], None]) -> Callable[[Matrix], None]:
    """Enter a case under its own name."""
    CASES[function.__name__.replace("_", " ")] = function
    return function


SKIPPED = "skipped: "


class Impossible(Exception):
    """The case cannot be looked at here; says why."""


class Matrix:
    """What the cases work on."""

    def __init__(self, rung: str, state: str) -> None:
        self.rung, self.state = rung, state
        self.backend = LocalBackend(rung=rung, state_dir=state)
        self.box = self.backend.create_sandbox("host")
        self.host_file = os.path.join(state, "a-file-of-the-host")
        with open(self.host_file, "w", encoding="ascii") as file:
            file.write("secret")

    @contextlib.contextmanager
    def fresh(self, **settings: Any) -> Iterator[LocalSandbox]:
        """A sandbox of a backend with other settings."""
        backend = LocalBackend(rung=self.rung, state_dir=self.state, **settings)
        try:
            yield backend.create_sandbox("host")
        finally:
            backend.close()

    def run_all(self) -> dict[str, str | None]:
        """Every case's outcome."""
        env = {
            "RUNG": self.rung,
            "HOST_FILE": self.host_file,
            "HOST_CERTIFICATES": "/etc/ssl/certs/ca-certificates.crt",
        }
        outcomes: dict[str, str | None] = {}
        for name, program in SHELL.items():
            outcomes[name] = _complaint(self.box.run(["bash", "-c", program], timeout=PATIENCE, env=env))
        for name, program in PYTHON.items():
            outcomes[name] = _complaint(self.box.run(["python3", "-c", program], timeout=PATIENCE, env=env))
        for name, function in CASES.items():
            try:
                function(self)
                outcomes[name] = None
            except Impossible as reason:
                outcomes[name] = f"{SKIPPED}{reason}"
            except Exception as error:
                outcomes[name] = f"{type(error).__name__}: {error}"
        return outcomes


def _complaint(done: Completed) -> str | None:
    if done.returncode == 0:
        return None
    return f"exit {done.returncode}: {done.stdout_read()[-300:]} {done.stderr_read()[-500:]}"


def names() -> list[str]:
    """Every case there is."""
    return [*SHELL, *PYTHON, *CASES]


def sh(sandbox: LocalSandbox, program: str, **options: Any) -> Completed:
    """Run a shell program inside."""
    return sandbox.run(["bash", "-c", program], **options)


def commands(sandbox: LocalSandbox) -> str:
    """Command lines of all that runs inside."""
    return sh(sandbox, "cat /proc/[0-9]*/cmdline 2>/dev/null | tr '\\0' ' '").stdout_read()


def main(rung: str, state: str) -> None:
    """Run everything; print the outcomes."""
    matrix = Matrix(rung, state)
    try:
        outcomes = matrix.run_all()
        outcomes["nothing is left"] = None
        matrix.backend.close()
        with open("/proc/self/mounts", encoding="utf-8") as file:
            if state in file.read():
                outcomes["nothing is left"] = "a mount in the host's namespace"
    finally:
        matrix.backend.close()
    print(json.dumps(outcomes))
