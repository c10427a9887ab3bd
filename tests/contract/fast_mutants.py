"""More of `mutants`: each has a fast road of its own, and is wrong there in one way."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from cooperbench.eval.backends.base import Completed
from tests.contract.mutants import Mutant


class WithRun(Mutant):
    """With a `CommandSandbox.run` of its own, over the sound sandbox's."""

    def run(
        self,
        argv: Sequence[str],
        *,
        timeout: float | None = None,
        env: Mapping[str, str] | None = None,
        cwd: str | None = None,
        stdin: bytes | None = None,
    ) -> Completed:
        return self.ran(argv, {"timeout": timeout, "env": env, "cwd": cwd, "stdin": stdin})

    def ran(self, argv: Sequence[str], wishes: dict[str, Any]) -> Completed:
        return self.sound.run(argv, **wishes)  # type: ignore[attr-defined]


class KillsOnlyTheLeader(WithRun):
    caught_by = ("time-limit-tree",)
    deadline = 20

    def ran(self, argv: Sequence[str], wishes: dict[str, Any]) -> Completed:
        done = self.sound.exec("timeout", "-s", "KILL", str(wishes["timeout"]), *argv)
        return Completed(124, done.stdout_read().encode(), done.stderr_read().encode(), timed_out=True)


class LosesPartialOutput(WithRun):
    caught_by = ("time-limit",)

    def ran(self, argv: Sequence[str], wishes: dict[str, Any]) -> Completed:
        done = super().ran(argv, wishes)
        return Completed(done.returncode, timed_out=done.timed_out)


class HidesTheTimeOut(WithRun):
    caught_by = ("time-limit",)

    def ran(self, argv: Sequence[str], wishes: dict[str, Any]) -> Completed:
        done = super().ran(argv, wishes)
        return Completed(done.returncode, done.stdout, done.stderr)


class BelievesTheExitCode(WithRun):
    caught_by = ("time-limit-spares",)

    def ran(self, argv: Sequence[str], wishes: dict[str, Any]) -> Completed:
        done = super().ran(argv, wishes)
        return Completed(done.returncode, done.stdout, done.stderr, timed_out=done.returncode == 124)


class StdinIsText(WithRun):
    caught_by = ("stdin-bytes",)

    def ran(self, argv: Sequence[str], wishes: dict[str, Any]) -> Completed:
        text = (wishes["stdin"] or b"").decode("utf-8", "replace")
        return super().ran(argv, {**wishes, "stdin": text.encode()})


class LosesVariables(WithRun):
    caught_by = ("environment",)

    def ran(self, argv: Sequence[str], wishes: dict[str, Any]) -> Completed:
        return super().ran(argv, {**wishes, "env": None})


class LosesDirectory(WithRun):
    caught_by = ("directory",)

    def ran(self, argv: Sequence[str], wishes: dict[str, Any]) -> Completed:
        return super().ran(argv, {**wishes, "cwd": None})


class WithArchives(Mutant):
    """With the `ArchiveSandbox` of the sound sandbox."""

    def put_archive(self, directory: str, archive: bytes) -> None:
        self.sound.put_archive(directory, archive)  # type: ignore[attr-defined]

    def get_archive(self, directory: str, limit: int) -> bytes:
        return self.sound.get_archive(directory, limit)  # type: ignore[attr-defined, no-any-return]


class SpoilsOneByte(WithArchives):
    caught_by = ("files-round-trip",)

    def get_archive(self, directory: str, limit: int) -> bytes:
        archive = super().get_archive(directory, limit)
        return archive.replace(b"\0\r\n\xff", b"\0\n\n\xff")


class LosesModes(WithArchives):
    caught_by = ("file-modes",)

    def put_archive(self, directory: str, archive: bytes) -> None:
        super().put_archive(directory, archive)
        self.sound.exec("sh", "-c", "chmod a-x /tmp/*.sh /usr/local/bin/probe-it")


class TakesMissingForEmpty(WithArchives):
    caught_by = ("plain-files-only",)

    def get_archive(self, directory: str, limit: int) -> bytes:
        there = self.sound.exec("test", "-d", directory).returncode == 0
        return super().get_archive(directory, limit) if there else b""


class IgnoresTheLimit(WithArchives):
    caught_by = ("plain-files-only",)

    def get_archive(self, directory: str, limit: int) -> bytes:
        del limit
        return super().get_archive(directory, 1 << 30)[:0]
