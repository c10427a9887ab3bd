"""A pair whose reference solutions conflict, and two scripts that solve it: one pushes, the other builds on that."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from cooperbench import run
from cooperbench.dataset import demo_dataset
from cooperbench.dataset.model import Pair
from cooperbench.runs import RunDirectory, TrialDirectory

PAIR = Pair("gridline_task", 3, (2, 3))
TASK = demo_dataset() / PAIR.repo / f"task{PAIR.task_id}"
GIT = "git -c user.name=$AGENT_ID -c user.email=$AGENT_ID@example.org"

FIRST = f"""set -eu
git apply --whitespace=nowarn <<'EOF'
{{own}}EOF
git add -A && {GIT} commit -qm "feature 2"
coop push
coop send agent2 "feature 2 is pushed; please build on it and push the whole"
coop inbox --wait 300
coop fetch agent2
git diff --stat HEAD team/agent2
{GIT} merge -q --ff-only team/agent2
"""
SECOND = f"""set -eu
base=$(git rev-parse HEAD)
coop inbox --wait 300
coop fetch
{GIT} merge -q --ff-only team/agent1
git read-tree -u --reset "$base"
git apply --whitespace=nowarn <<'EOF'
{{both}}EOF
git add -A && {GIT} commit -qm "features 2 and 3 together"
coop push
coop send agent1 "pushed: both features on top of yours"
"""


def scripts(place: Path) -> Path:
    """A directory of them, as `--agent-config` takes it."""
    place.mkdir()
    own = (TASK / "feature2" / "feature.patch").read_text()
    both = (TASK / "combined.patch").read_text()
    (place / "agent1.sh").write_text(FIRST.replace("{own}", own))
    (place / "agent2.sh").write_text(SECOND.replace("{both}", both))
    return place


def push_and_fetch(backend: str, place: Path) -> tuple[dict[str, Any], TrialDirectory]:
    """The run's summary, and the trial."""
    summary = run(
        "pushing",
        repo=PAIR.repo,
        task_id=PAIR.task_id,
        features=PAIR.features,
        agent="script",
        agent_config=scripts(place / "scripts"),
        git_enabled=True,
        backend=backend,
        dataset_dir=demo_dataset(),
        logs_dir=place / "logs",
    )
    trial = RunDirectory(place / "logs", "pushing").trial("coop", PAIR)
    result = trial.read_result() or {}
    assert result.get("error") is None, json.dumps(trial.read_trajectory(2))
    return summary, trial
