"""This machine's own container engine as a VM's: for seeing that what the agent asks of docker is what docker takes."""

from __future__ import annotations

import subprocess
from pathlib import Path

LABEL = "cooperbench-test-vm"


class OwnEngine:
    """What is on the engine with a VM's mark."""

    def __init__(self, directory: Path) -> None:
        self._vm = directory.name
        (directory / "name").write_text(f"{directory.name}\n")

    def close(self) -> None:
        """The VM's end takes every container along."""
        left = containers(self._vm)
        if left:
            subprocess.run(["docker", "rm", "-f", "-v", *left], check=True, capture_output=True)


def containers(vm: str) -> list[str]:
    """The ids of a VM's containers, running or not."""
    command = ["docker", "ps", "-aq", "--no-trunc", "--filter", f"label={LABEL}={vm}"]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()
