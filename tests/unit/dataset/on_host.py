"""Builds a demo task and runs its tests in a directory of the host, without any sandbox.

The image's places (``/workspace``, ``/patches`` …) are moved below a temporary directory by rewriting the scripts:
they take no override, so that nothing under judgement can give them one.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

from cooperbench.dataset import Task, demo_dataset

COOP = """#!/bin/sh
# Mailboxes as directories: enough of `coop` for the recorded agents.
set -eu
post() { printf '%s: %s\\n' "$AGENT_ID" "$2" >"$BOX/tmp.$AGENT_ID"; mv "$BOX/tmp.$AGENT_ID" "$BOX/$1/$(date +%s%N)"; }
case $1 in
send) post "$2" "$3" ;;
broadcast) for a in agent1 agent2; do [ $a = "$AGENT_ID" ] || post $a "$2"; done ;;
inbox)
    over=
    mate=$(echo agent1agent2 | sed "s/$AGENT_ID//")
    until [ -n "$(ls "$BOX/$AGENT_ID")" ] || [ -n "$over" ]; do
        [ ! -e "$BOX/$mate.finished" ] || over=1
        sleep 0.02
    done
    for f in "$BOX/$AGENT_ID"/*; do [ ! -e "$f" ] || { cat "$f"; rm "$f"; echo >>"$BOX/count"; }; done ;;
who) echo agent1 agent2 ;;
*) exit 2 ;;
esac
"""


class HostTask:
    """One task's image, unpacked below `place`."""

    def __init__(self, task: Task, place: Path) -> None:
        self.task = task
        self.place = place
        self.repository = place / "workspace" / "repo"
        self.patches = place / "patches"
        self.patches.mkdir(parents=True)
        self.build = place / "build"
        self.build.mkdir()
        for name in ("build.sh", "runner.sh"):
            (self.build / name).write_text(self._moved((task.path / name).read_text()))
        shutil.copytree(task.path / "repo", self.build / "repo")
        # Installing a wheel leaves such directories behind; no image may hold them.
        (self.build / "repo" / "tests" / "__pycache__").mkdir(exist_ok=True)
        (self.build / "repo" / "tests" / "__pycache__" / "x.cpython-311.pyc").write_bytes(place.name.encode())
        self._run(["sh", str(self.build / "build.sh")])

    def _moved(self, script: str) -> str:
        for path in ("/workspace", "/usr/local/bin", "/build", "/patches"):
            script = script.replace(path, f"{self.place}{path}")
        return script

    def environment(self, **more: str) -> dict[str, str]:
        return {**os.environ, "GIT_CONFIG_GLOBAL": "/dev/null", "GIT_CONFIG_NOSYSTEM": "1", **more}

    def _run(self, argv: list[str], cwd: Path | None = None, stdin: bytes = b"") -> bytes:
        done = subprocess.run(argv, cwd=cwd, env=self.environment(), input=stdin, capture_output=True)
        assert done.returncode == 0, (argv, done.stdout.decode(), done.stderr.decode())
        return done.stdout

    def git(self, *argv: str, stdin: bytes = b"") -> bytes:
        return self._run(["git", *argv], self.repository, stdin)

    def run_tests(self, tests: bytes, patch: bytes) -> tuple[bool, str]:
        """What the runner says of `patch`: passed, and its log."""
        (self.patches / "tests.patch").write_bytes(tests)
        (self.patches / "feature.patch").write_bytes(patch)
        runner = self.place / "usr" / "local" / "bin" / "runner.sh"
        done = subprocess.run(
            ["bash", str(runner), "tests.patch", "feature.patch"],
            env=self.environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        return done.returncode == 0, done.stdout.decode()

    def merge(self, first: bytes, second: bytes) -> bytes | None:
        """Both patches merged, as one patch; None when they conflict."""
        trees = []
        for patch in (first, second):
            self.git("reset", "-q", "--hard", "main")
            self.git("apply", "--index", stdin=patch)
            tree = self.git("write-tree").decode().strip()
            trees.append(self.git("commit-tree", "-p", "main", "-m", "side", tree).decode().strip())
        self.git("checkout", "-qf", "--detach", trees[0])
        done = subprocess.run(
            ["git", "merge", "-q", "-m", "both", trees[1]],
            cwd=self.repository,
            env=self.environment(),
            capture_output=True,
        )
        merged = self.git("diff", "--binary", "main", "HEAD") if done.returncode == 0 else None
        self.git("checkout", "-qf", "main")
        self.git("clean", "-fdq")
        return merged

    def outcome(self, pair: tuple[int, int], patches: tuple[bytes, bytes]) -> Mapping[str, object]:
        """The verdict in the shape of ``expected.json``."""
        merged = self.merge(*patches)
        if merged is None:
            return {"passed": False, "merge": "conflicts"}
        tests = [self.task.features[number].tests_patch for number in pair]
        return {"passed": all(self.run_tests(each, merged)[0] for each in tests), "merge": "clean"}

    def run_agents(self, key: str, messages: bool) -> tuple[bytes, bytes]:
        """The patches of the two recorded agents of a pair, run at the same time in a clone each."""
        scripts = demo_dataset() / "scripts" / self.task.repo / f"task{self.task.task_id}" / key
        box = self.place / f"box-{key}-{messages}"
        box.mkdir()
        (box / "coop").write_text(COOP if messages else "#!/bin/sh\necho 'no messages' >&2; exit 1\n")
        (box / "coop").chmod(0o755)
        running = []
        for agent in ("agent1", "agent2"):
            clone = box / f"{agent}-repo"
            (box / agent).mkdir()
            self.git("clone", "-q", ".", str(clone))
            environment = self.environment(AGENT_ID=agent, BOX=str(box), PATH=f"{box}:{os.environ['PATH']}")
            program = 'sh "$1"; code=$?; touch "$BOX/$AGENT_ID.finished"; exit $code'
            script = ["sh", "-c", program, "sh", str(scripts / f"{agent}.sh")]
            process = subprocess.Popen(
                script, cwd=clone, env=environment, stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            )  # fmt: skip
            running.append((clone, process))
        return self._patch(*running[0]), self._patch(*running[1])

    def _patch(self, clone: Path, process: subprocess.Popen[bytes]) -> bytes:
        output, _ = process.communicate(timeout=240)
        assert process.returncode == 0, output.decode()
        self._run(["git", "add", "-A"], clone)
        return self._run(["git", "diff", "--binary", "--cached", "origin/main"], clone)
