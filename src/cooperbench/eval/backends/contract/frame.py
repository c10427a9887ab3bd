"""What every clause of the contract is made of: its subject, its expectations, and commands inside a sandbox."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from cooperbench.eval.backends import shell
from cooperbench.eval.backends.base import (
    DEFAULT_WORKDIR,
    Completed,
    EvalBackend,
    ExecResult,
    Sandbox,
    SandboxSpec,
)


class CheckFailed(AssertionError):
    """The backend does not keep a clause; the message says what was expected and what was seen."""


class CheckSkipped(Exception):
    """The clause cannot be looked at with what was given."""


@dataclass(frozen=True, slots=True)
class ConfiguredImage:
    """An image whose ENV sets `variable` to `value` and whose ENTRYPOINT, if it ran, would create `marker`."""

    image: str
    variable: str
    value: str
    marker: str


@dataclass(frozen=True, slots=True)
class Subject:
    """What is checked: a backend, an image for it, and what only its author can say."""

    backend: EvalBackend
    image: str
    kill: Callable[[Sandbox], None] | None = None
    """Makes a sandbox die from outside, behind the backend's back; None: it is terminated from another thread."""
    configured: ConfiguredImage | None = None
    patience: float = 5.0
    """Seconds `terminate` may take, and what it leaves behind to go away."""
    made: list[Sandbox] = field(default_factory=list)
    """Every sandbox of this subject, for whoever cleans up after a check that failed."""

    def sandbox(self, *, image: str = "", timeout: float = 600, workdir: str = DEFAULT_WORKDIR) -> Sandbox:
        """A new sandbox, of the subject's own image unless told otherwise."""
        sandbox = shell.create(self.backend, SandboxSpec(image or self.image, timeout, workdir))
        self.made.append(sandbox)
        return sandbox


Clause = Callable[[Subject], None]

CLAUSES: dict[str, Clause] = {}


def clause(name: str) -> Callable[[Clause], Clause]:
    """Enter the decorated function as the clause `name`; its docstring's one line says what it means."""

    def enter(check: Clause) -> Clause:
        CLAUSES[name] = check
        return check

    return enter


def expect(what: str, seen: object, wanted: object) -> None:
    """Fail unless `seen` is `wanted`."""
    if seen != wanted:
        raise CheckFailed(f"{what}: expected {shown(wanted)}, saw {shown(seen)}")


def expect_raises(what: str, error: type[Exception], call: Callable[[], object]) -> None:
    """Fail unless `call` raises `error`."""
    try:
        outcome = call()
    except error:
        return
    except Exception as problem:  # whatever it is, it is what was seen
        outcome = problem
    if code := getattr(outcome, "returncode", None):
        outcome = f"exit code {code}"
    raise CheckFailed(f"{what}: expected {error.__name__}, saw {shown(outcome)}")


def shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 200 else f"{text[:100]} … {text[-60:]} ({len(text)} characters)"


def sh(sandbox: Sandbox, script: str, *args: str) -> ExecResult:
    return sandbox.exec("sh", "-c", script, "sh", *args)


def says(sandbox: Sandbox, script: str, *args: str) -> str:
    """What a script prints, which must succeed."""
    done = sh(sandbox, script, *args)
    if done.returncode != 0:
        raise CheckFailed(f"{script!r}: exit code {done.returncode}, {shown(done.stderr_read())}")
    return done.stdout_read()


def out_of_time(sandbox: Sandbox, script: str) -> Completed:
    """Run a script into its time limit, which must not be over before it has made the file `ready`."""
    for limit in (1, 5, 25):  # the machine may be slow
        done = shell.run(sandbox, ["sh", "-c", script], timeout=limit)
        if sh(sandbox, "test -e ready").returncode == 0:
            break
    return done


def running(sandbox: Sandbox, pattern: str) -> str:
    """Command lines of the processes in the sandbox that match; some seconds are given to those that are dying.

    `pattern` must not match itself, or it would find the search.
    """
    search = """n=0; while [ $n -lt 5 ]; do
        seen=$(for each in /proc/[0-9]*; do tr '\\0' ' ' <"$each/cmdline"; echo; done 2>/dev/null | grep -e "$1")
        [ -n "$seen" ] || exit 0; n=$((n + 1)); sleep 1; done; printf %s "$seen" """
    return says(sandbox, search, pattern)
