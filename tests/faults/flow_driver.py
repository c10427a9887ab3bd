"""A coop trial whose agents never stop talking, in a process of its own: ``flow_driver.py LOGS LIFE [MESSAGES]``.

With MESSAGES, prints ``flowing`` once so many have gone over the bus, and never ends by itself. What is said or
written names the LIFE it is of.
"""

from __future__ import annotations

import sys
import threading
import time
from pathlib import Path

from cooperbench import register_agent, run
from cooperbench.agents.base import AgentResult
from cooperbench.dataset import demo_dataset
from cooperbench.eval.backends import shell

NAME = "flow"
FEATURES = (1, 4)
MESSAGES = 60
"""Of each agent."""
WORK = """set -e
case $AGENT_ID in agent1) other=agent2 ;; *) other=agent1 ;; esac
n=0
read=0
while [ $n -lt "$1" ] || [ $read -lt "$1" ]; do
    if [ $n -lt "$1" ]; then
        n=$((n + 1))
        coop send $other "$LIFE $AGENT_ID $n"
        coop inbox >inbox
    else
        coop inbox --wait 300 >inbox
    fi
    read=$((read + $(grep -c ^from inbox || true)))
    rm inbox
    echo "$LIFE $n $read" >"$AGENT_ID.txt"
done
"""


class Talker:
    """Sends, and reads what comes, by `coop` in its sandbox."""

    uses_model = False

    def run(self, assignment, sandbox, mailbox) -> AgentResult:  # type: ignore[no-untyped-def]
        """Talk; the first agent tells when enough has been said."""
        if assignment.agent_id == "agent1" and len(sys.argv) > 3:
            threading.Thread(target=tell, args=(mailbox.bus, int(sys.argv[3])), daemon=True).start()
        env = {"AGENT_ID": assignment.agent_id, "LIFE": sys.argv[2]}
        command = ["sh", "-c", WORK, "sh", str(MESSAGES)]
        done = shell.run(sandbox, command, cwd=assignment.workdir, env=env, timeout=600)
        assert done.returncode == 0, done.stderr_read()
        if len(sys.argv) > 3:
            threading.Event().wait()
        return AgentResult(cost=0.0, messages=[{"command": WORK, "life": sys.argv[2]}])


def tell(bus, count: int) -> None:  # type: ignore[no-untyped-def]
    """Say when so many messages have been sent."""
    while len(bus.journal()) < count:
        time.sleep(0.002)
    print("flowing", flush=True)


def main() -> None:
    register_agent("talker", Talker)
    run(
        NAME,
        repo="almanac_task",
        task_id=12,
        features=FEATURES,
        agent="talker",
        setting="coop",
        auto_eval=False,
        backend="local",
        dataset_dir=demo_dataset(),
        logs_dir=Path(sys.argv[1]),
    )


if __name__ == "__main__":
    main()
