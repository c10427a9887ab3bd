"""A team's trial in a process of its own, to be killed in its middle: ``team_driver.py LOGS [hold]``.

With ``hold``, prints ``middle`` once both agents have talked, claimed and pushed, and waits for its death.
"""

from __future__ import annotations

import sys
import threading
from pathlib import Path

from cooperbench import register_agent, run
from cooperbench.agents.base import AgentResult
from cooperbench.dataset import demo_dataset
from cooperbench.eval.backends import shell

NAME = "team"
FEATURES = (1, 4)
WORK = """set -e
coop task add "part of $AGENT_ID"
coop task claim
coop note append "$AGENT_ID was here"
echo "$AGENT_ID" >"$AGENT_ID.txt"
git add -A
git -c user.name=x -c user.email=x@example.org commit -qm work
coop push
coop broadcast "pushed"
coop inbox --wait 300
coop fetch
"""
hold = len(sys.argv) > 2
together = threading.Barrier(2, action=lambda: print("middle", flush=True))


class Worker:
    """Does a part of everything, by `coop` in its sandbox."""

    uses_model = False

    def run(self, assignment, sandbox, mailbox) -> AgentResult:  # type: ignore[no-untyped-def]
        """Work; with ``hold``, never come back."""
        del mailbox
        env = {"AGENT_ID": assignment.agent_id}
        done = shell.run(sandbox, ["sh", "-c", WORK], cwd=assignment.workdir, env=env, timeout=300)
        assert done.returncode == 0, done.stderr_read()
        if hold:
            together.wait()
            threading.Event().wait()
        return AgentResult(cost=0.0, messages=[{"command": WORK, "stdout": done.stdout_read()}])


def main() -> None:
    register_agent("worker", Worker)
    run(
        NAME,
        repo="almanac_task",
        task_id=12,
        features=FEATURES,
        agent="worker",
        setting="team",
        git_enabled=True,
        auto_eval=False,
        backend="local",
        dataset_dir=demo_dataset(),
        logs_dir=Path(sys.argv[1]),
    )


if __name__ == "__main__":
    main()
