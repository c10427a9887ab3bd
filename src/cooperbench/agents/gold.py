"""The oracle: applies the dataset's own solutions. It shows that a task can be solved, and which pairs conflict."""

from __future__ import annotations

from pathlib import Path

from cooperbench.agents.base import AgentResult, Assignment, Mailbox
from cooperbench.errors import AgentError
from cooperbench.eval.backends import shell
from cooperbench.eval.backends.base import Completed, Sandbox

_PATCH = "/tmp/.gold/{}.patch"
_TIMEOUT = 300


class GoldAgent:
    """Applies the gold patch of each of its features; the task's ``combined.patch`` where these do not go together."""

    uses_model = False
    uses_messages = False

    def run(self, assignment: Assignment, sandbox: Sandbox, mailbox: Mailbox) -> AgentResult:
        """Apply and return.

        Raises:
            AgentError: the dataset's own patch does not apply.
        """
        del mailbox
        task = assignment.task_path
        patches = [_read(task / f"feature{number}" / "feature.patch") for number in assignment.features]
        failure = _apply(sandbox, assignment.workdir, patches)
        steps = 1
        combined = task / "combined.patch"
        if failure is not None and len(patches) > 1 and combined.is_file():
            failure = _apply(sandbox, assignment.workdir, [_read(combined)])
            steps = 2
        if failure is not None:
            features = ", ".join(map(str, assignment.features))
            raise AgentError(
                f"gold patch of {assignment.repo}/{assignment.task_id} feature {features}: {failure}"
            )
        return AgentResult(cost=0.0, steps=steps)


def _apply(sandbox: Sandbox, workdir: str, patches: list[bytes]) -> str | None:
    """Apply all or none: why it failed, or None."""
    names = [_PATCH.format(number) for number in range(1, len(patches) + 1)]
    shell.put_files(sandbox, dict(zip(names, patches, strict=True)))
    for done, name in enumerate(names):
        answer = _git_apply(sandbox, workdir, name)
        if answer.returncode != 0:
            for earlier in reversed(names[:done]):
                _git_apply(sandbox, workdir, "--reverse", earlier)
            return " ".join(answer.stderr_read().split())[:300] or f"git apply ended with {answer.returncode}"
    return None


def _git_apply(sandbox: Sandbox, workdir: str, *arguments: str) -> Completed:
    command = ["git", "apply", "--whitespace=nowarn", *arguments]
    return shell.run(sandbox, command, cwd=workdir, timeout=_TIMEOUT)


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as problem:
        raise AgentError(f"no gold patch at {path}: {problem.strerror}") from problem
