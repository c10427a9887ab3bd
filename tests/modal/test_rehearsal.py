"""Any command against Modal on loopback, as docs/modal.md offers it to people without an account."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests.docker.engines import missing

ROOT = Path(__file__).parents[2]
PROGRAM = """
from cooperbench.eval.backends import get_backend
backend = get_backend("modal")
sandbox = backend.create_sandbox("python:3.12-bookworm")
print(sandbox.exec("echo", "rehearsed").stdout_read(), end="")
sandbox.terminate()
backend.close()
raise SystemExit(7)
"""


def test_a_command_of_any_kind() -> None:
    if os.getuid() != 0:
        missing("needs root: the loopback server takes snapshots of other users' files")
    command = [sys.executable, "-m", "tests.loopback.modal", sys.executable, "-c", PROGRAM]
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=550, check=False)
    assert (ran.returncode, ran.stdout) == (7, "rehearsed\n"), ran.stderr
    assert "1 SandboxCreateV2\n" in ran.stderr, "what was asked for is told"
