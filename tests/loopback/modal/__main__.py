"""A command against Modal on loopback: ``python -m tests.loopback.modal cooperbench demo --backend modal``.

The registry has one image, `IMAGE`: this machine's own programs. The command finds the loopback's credentials in its
environment, and settings for the backend in place of this machine's user's. What was asked of the server is told on
standard error at the end. Needs root, as the server's snapshots do.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.loopback.modal import Cloud
from tests.loopback.modal.images import Reference

IMAGE = "python:3.12-bookworm"

_SETTINGS = f"""[backends.modal]
host_image = "{IMAGE}"
creates_per_second = 0
"""


def main(command: list[str]) -> int:
    """Run it; its exit code."""
    if not command:
        sys.exit(__doc__)
    if os.getuid() != 0:
        sys.exit("needs root: the loopback server takes snapshots of other users' files")
    with (
        tempfile.TemporaryDirectory(prefix="cbmodal-") as directory,
        Cloud({IMAGE: Reference("host")}) as cloud,
    ):
        settings = Path(directory, "config", "cooperbench", "config.toml")
        settings.parent.mkdir(parents=True)
        settings.write_text(_SETTINGS)
        homes = {"XDG_CONFIG_HOME": f"{directory}/config", "XDG_STATE_HOME": f"{directory}/state"}
        environment = {**os.environ, **cloud.environment, **homes}
        code = subprocess.run(command, env=environment, check=False).returncode
        for name, times in sorted(cloud.desk.counted().items()):
            print(f"{times:>7} {name}", file=sys.stderr)
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
