"""Backends that are each wrong in one way, and the clauses that must notice.

Each wraps sandboxes of a sound backend. A mutant that survives means a clause that says less than it claims.
"""

from __future__ import annotations

import threading
import time
from typing import Any, ClassVar

from cooperbench.errors import SandboxLost, SandboxTimeout
from cooperbench.eval.backends.base import ExecResult
from tests.contract.foreign import ExecOnlySandbox, Result


class Mutant(ExecOnlySandbox):
    """A sandbox with one fault. `caught_by`: the clauses that it must break."""

    caught_by: ClassVar[tuple[str, ...]] = ()
    deadline: ClassVar[float] = 60
    """Seconds: short for those whose fault is to block."""

    @classmethod
    def create(cls, sound: Any, image: str, timeout: int, workdir: str) -> Any:
        return cls(sound.create_sandbox(image, timeout, workdir))

    def exec(self, *args: str) -> ExecResult:
        return self.spoil(super().exec(*args))

    def spoil(self, done: Any) -> ExecResult:
        """The fault, where it is one of the result."""
        return done


# -------------------------------------------------------------------------------------------- results


class MergesStreams(Mutant):
    caught_by = ("streams", "failure-is-a-value", "time-limit")

    def spoil(self, done: Any) -> ExecResult:
        return Result(done.returncode, done.out + done.err, "")


class LosesExitCode(Mutant):
    caught_by = ("exit-code", "failure-is-a-value", "signal")

    def spoil(self, done: Any) -> ExecResult:
        return Result(0, done.out, done.err)


class KnowsOnlyOneFailure(Mutant):
    caught_by = ("exit-code", "missing-program")

    def spoil(self, done: Any) -> ExecResult:
        return Result(min(done.returncode, 1), done.out, done.err)


class RaisesOnFailure(Mutant):
    caught_by = ("failure-is-a-value",)

    def spoil(self, done: Any) -> ExecResult:
        if done.returncode:
            raise RuntimeError("command failed")
        return done


class NegativeSignals(Mutant):
    caught_by = ("signal",)

    def spoil(self, done: Any) -> ExecResult:
        code = 128 - done.returncode if done.returncode > 128 else done.returncode
        return Result(code, done.out, done.err)


class RaisesOnMissingProgram(Mutant):
    caught_by = ("missing-program",)

    def spoil(self, done: Any) -> ExecResult:
        if done.returncode == 127:
            raise FileNotFoundError("no such program")
        return done


class StripsOutput(Mutant):
    caught_by = ("output-exact",)

    def spoil(self, done: Any) -> ExecResult:
        return Result(done.returncode, done.out.strip(), done.err.strip())


class TranslatesNewlines(Mutant):
    caught_by = ("output-exact",)

    def spoil(self, done: Any) -> ExecResult:
        return Result(done.returncode, done.out.replace("\r\n", "\n"), done.err)


class CanBeReadOnce(Mutant):
    caught_by = ("output-exact",)

    class Once(Result):
        def stdout_read(self) -> str:
            text, self.out = self.out, ""
            return text

    def spoil(self, done: Any) -> ExecResult:
        return self.Once(done.returncode, done.out, done.err)


class DecodesStrictly(Mutant):
    caught_by = ("not-utf8",)

    def spoil(self, done: Any) -> ExecResult:
        if "\ufffd" in done.out:
            raise UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid start byte")
        return done


class DropsBadBytes(Mutant):
    caught_by = ("not-utf8",)

    def spoil(self, done: Any) -> ExecResult:
        return Result(done.returncode, done.out.replace("\ufffd", ""), done.err)


class LosesSomeOutput(Mutant):
    caught_by = ("streams",)

    def spoil(self, done: Any) -> ExecResult:
        return Result(done.returncode, done.out[:65_536], done.err)


class KeepsAllOutput(Mutant):
    caught_by = ("big-output",)

    def spoil(self, done: Any) -> ExecResult:
        whole = "o" * 50_000_000 + "the end\n"
        return Result(done.returncode, whole if done.out.endswith("the end\n") else done.out, done.err)


class KeepsTheHeadOfOutput(Mutant):
    caught_by = ("big-output",)

    def spoil(self, done: Any) -> ExecResult:
        return Result(done.returncode, done.out.removesuffix("the end\n"), done.err)


class CutsInSilence(Mutant):
    caught_by = ("big-output",)

    def spoil(self, done: Any) -> ExecResult:
        silent = done.out.partition("\n")[2] if len(done.out) > 500_000 else done.out
        return Result(done.returncode, silent, done.err)


# -------------------------------------------------------------------------------------------- commands


class SplitsArguments(Mutant):
    caught_by = ("argv",)

    def exec(self, *args: str) -> ExecResult:
        return super().exec("sh", "-c", " ".join(args))


class DropsEmptyArguments(Mutant):
    caught_by = ("argv",)

    def exec(self, *args: str) -> ExecResult:
        return super().exec(*(word for word in args if word))


class LeavesStdinOpen(Mutant):
    caught_by = ("stdin-closed",)
    deadline = 3

    def exec(self, *args: str) -> ExecResult:
        return super().exec("sh", "-c", 'sleep 60 | "$@"', "sh", *args)


class StaysInRoot(Mutant):
    caught_by = ("workdir",)

    def exec(self, *args: str) -> ExecResult:
        return super().exec("sh", "-c", 'cd / && exec "$@"', "sh", *args)


class IgnoresWorkdir(Mutant):
    caught_by = ("workdir",)

    @classmethod
    def create(cls, sound: Any, image: str, timeout: int, workdir: str) -> Any:
        del workdir
        return cls(sound.create_sandbox(image, timeout))


class ForgetsFiles(Mutant):
    caught_by = ("files-persist",)

    def exec(self, *args: str) -> ExecResult:
        done = super().exec(*args)
        super().exec("sh", "-c", "rm -rf /var/tmp/*")
        return done


class KeepsShellState(Mutant):
    caught_by = ("state-does-not",)

    def exec(self, *args: str) -> ExecResult:
        if args[:2] != ("sh", "-c"):
            return super().exec(*args)
        keep = '[ ! -e /tmp/state ] || . /tmp/state\n%s\ncode=$?; export -p >/tmp/state; exit "$code"'
        return super().exec("sh", "-c", keep % args[2], *args[3:])


class OneAtATime(Mutant):
    caught_by = ("concurrent",)
    deadline = 4

    def __init__(self, sound: Any) -> None:
        super().__init__(sound)
        self.turn = threading.Lock()

    def exec(self, *args: str) -> ExecResult:
        with self.turn:
            return super().exec(*args)


class OneForAll(Mutant):
    caught_by = ("apart",)
    only: ClassVar[Any] = None

    @classmethod
    def create(cls, sound: Any, image: str, timeout: int, workdir: str) -> Any:
        cls.only = cls.only or cls(sound.create_sandbox(image, timeout, workdir))
        return cls.only


class TakesAnyImage(Mutant):
    caught_by = ("start-error",)

    @classmethod
    def create(cls, sound: Any, image: str, timeout: int, workdir: str) -> Any:
        del image
        return cls(sound.create_sandbox("host", timeout, workdir))


# -------------------------------------------------------------------------------------------- ends


class OutlivesItsTimeout(Mutant):
    caught_by = ("lifetime",)
    deadline = 5

    @classmethod
    def create(cls, sound: Any, image: str, timeout: int, workdir: str) -> Any:
        return cls(sound.create_sandbox(image, timeout + 600, workdir))


class LifetimeIsAnExitCode(Mutant):
    caught_by = ("lifetime",)

    def exec(self, *args: str) -> ExecResult:
        try:
            return super().exec(*args)
        except SandboxTimeout:
            return Result(124, "", "")


class LostIsAnExitCode(Mutant):
    caught_by = ("lost", "after-terminate")

    def exec(self, *args: str) -> ExecResult:
        try:
            return super().exec(*args)
        except SandboxLost:
            return Result(-1, "", "")


class LostIsAnotherError(Mutant):
    caught_by = ("lost", "after-terminate")

    def exec(self, *args: str) -> ExecResult:
        try:
            return super().exec(*args)
        except SandboxLost as problem:
            raise ConnectionError("gone") from problem


class TerminatesOnce(Mutant):
    caught_by = ("terminate",)
    ended = False

    def terminate(self) -> None:
        if self.ended:
            raise RuntimeError("already terminated")
        self.ended = True
        super().terminate()


class WaitsBeforeTerminating(Mutant):
    caught_by = ("terminate",)

    def terminate(self) -> None:
        time.sleep(0.5)
        super().terminate()


class NeverTerminates(Mutant):
    caught_by = ("nothing-left", "after-terminate")
    left: ClassVar[list[Any]] = []

    def terminate(self) -> None:
        self.left.append(self.sound)


def all_mutants(of: type[Mutant] = Mutant) -> list[type[Mutant]]:
    """Every class here that has a fault."""
    found = [of] if of.caught_by else []
    for each in of.__subclasses__():
        found += all_mutants(each)
    return found
