"""All a backend author reads: the seam, its optional fast roads, and the values that cross it.

The seam is the first three protocols and nothing else: `create_sandbox`, `exec`, `terminate`. A backend that has
only those is a full citizen; everything richer is a function over them in `shell.py`. A backend that can do a thing
faster says so by having the method of one of the optional protocols below them; nobody asks for capabilities in any
other way. What every method must do, to the last corner, is in `checks.py`, which runs it.

Raises, on the whole seam: `SandboxStartError` from creation; `SandboxLost` from `exec` once the sandbox is gone, for
whatever reason; `SandboxTimeout` (a `SandboxLost`) when its own lifetime ended it. A command's failure is a value.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, Literal, Protocol, TypeGuard, TypeVar, runtime_checkable

DEFAULT_WORKDIR = "/workspace"

Road = TypeVar("Road")

Network = Literal["none", "open", "host"]
"""`none`: loopback only. `open`: the internet, but not this host, its LAN or metadata. `host`: the host's own."""


class ExecResult(Protocol):
    """What one command did."""

    @property
    def returncode(self) -> int:
        """Exit code; 128+n when signal n killed the command, 127 when the program does not exist."""
        ...

    def stdout_read(self) -> str:
        """Standard output as text; bytes that are not UTF-8 come as U+FFFD."""
        ...

    def stderr_read(self) -> str:
        """Standard error as text, likewise."""
        ...


class Sandbox(Protocol):
    """One isolated place to run commands in."""

    def exec(self, *args: str) -> ExecResult:
        """Run one program with exactly these arguments, standard input closed, and wait for it.

        Raises:
            SandboxLost: the sandbox is gone. SandboxTimeout: its lifetime ended it.
        """
        ...

    def terminate(self) -> None:
        """End the sandbox and everything in it, now. Calling it again is fine."""
        ...


class EvalBackend(Protocol):
    """Where sandboxes come from."""

    def create_sandbox(self, image: str, timeout: int = 600, workdir: str = DEFAULT_WORKDIR) -> Sandbox:
        """Make a sandbox from an image.

        Args:
            image: image reference, as the dataset names it.
            timeout: lifetime in seconds; when it is over, everything inside is dead.
            workdir: directory commands start in, created if absent.

        Raises:
            SandboxStartError: no sandbox could be made.
        """
        ...


# ---------------------------------------------------------------------------------------------- values


@dataclass(frozen=True, slots=True)
class Completed:
    """An `ExecResult` that keeps bytes: what every backend of ours returns."""

    returncode: int
    stdout: bytes = b""
    stderr: bytes = b""
    timed_out: bool = False
    """The command's own time limit ended it; the output is what it had printed by then."""
    truncated: bool = False
    """A stream was longer than the backend keeps; its tail is here, and a line at its head says so."""

    def stdout_read(self) -> str:
        """Standard output, decoded."""
        return self.stdout.decode("utf-8", "replace")

    def stderr_read(self) -> str:
        """Standard error, decoded."""
        return self.stderr.decode("utf-8", "replace")


@dataclass(frozen=True, slots=True)
class SandboxSpec:
    """Everything we ask of a new sandbox; the documented three arguments are its first three."""

    image: str
    timeout: float = 600
    workdir: str = DEFAULT_WORKDIR
    network: Network | None = None
    """`None`: the backend's own default."""
    labels: Mapping[str, str] = field(default_factory=dict)
    """For `cooperbench clean`: run, trial. The backend adds product, owner and expiry."""
    user: str = ""
    """Who commands run as, written as in a Dockerfile's USER; empty: who the image says, where a backend honours
    that. Files put and taken as archives are root's all the same."""


@dataclass(frozen=True, slots=True)
class Recipe:
    """How to make an image where it cannot be pulled: a base, a context directory, a script run once on the base.

    The script runs as root in a sandbox of `base` with `context` read-only at ``/build``; what it changes outside
    ``/build`` and ``/tmp`` is the image's layer.
    """

    base: str
    context: Path
    script: str
    """Name of a POSIX shell script inside `context`."""
    network: Network = "none"
    without: tuple[str, ...] = ()
    """Patterns (as in a shell) of names directly in `context` that the image has nothing to do with: not sent, and
    no reason to build anew when they change."""


@dataclass(frozen=True, slots=True)
class Price:
    """What a sandbox costs while it lives, as far as that can be said beforehand: an estimate."""

    hourly: float
    """US dollars."""
    source: str
    """Where the figure is from, for people: whose prices, of when, for how much of a machine."""


# ---------------------------------------------------------------------------------------------- optional fast roads


def offers(thing: object, road: type[Road]) -> TypeGuard[Road]:
    """Whether a backend or sandbox has one of the roads below: ``isinstance``, which takes twenty times as long."""
    kind: Any = type(thing)
    asked: Any = road
    if _class_offers(kind, asked):
        return True
    return all(
        getattr(thing, method, None) is not None for method in _methods(asked)
    )  # it may be the object's own


@cache
def _class_offers(kind: type, road: type) -> bool:
    return issubclass(kind, road)


@cache
def _methods(road: type) -> tuple[str, ...]:
    return tuple(name for name in vars(road) if not name.startswith("_"))


@runtime_checkable
class SpecBackend(Protocol):
    """A backend that takes a whole `SandboxSpec` (network, labels), not only the documented three arguments."""

    def create(self, spec: SandboxSpec) -> Sandbox:
        """Like `create_sandbox`; a wish that cannot be granted is a `SandboxStartError` naming the remedy."""
        ...


@runtime_checkable
class ImageBackend(Protocol):
    """A backend that can say what an image is, and make it ready before sandboxes ask for it."""

    def prepare_image(self, image: str, recipe: Recipe | None) -> str | None:
        """Pull or build `image` unless it is at hand; returns its digest (``sha256:…``), None if it has none.

        Raises:
            SandboxStartError: neither found nor buildable; the message says what to do.
        """
        ...


@runtime_checkable
class CommandSandbox(Protocol):
    """A sandbox whose commands take a time limit, an environment and standard input."""

    def run(
        self,
        argv: Sequence[str],
        *,
        timeout: float | None = None,
        env: Mapping[str, str] | None = None,
        cwd: str | None = None,
        stdin: bytes | None = None,
    ) -> Completed:
        """Run one program. On time-out its whole process tree dies and what it printed is returned.

        Args:
            timeout: seconds of wall time; None leaves only the sandbox's own lifetime.
            env: added to the image's environment.
            cwd: None for the sandbox's `workdir`.
            stdin: None for closed.
        """
        ...


@runtime_checkable
class ArchiveSandbox(Protocol):
    """A sandbox that takes and gives whole tar archives in one call each."""

    def put_archive(self, directory: str, archive: bytes) -> None:
        """Unpack an uncompressed tar under `directory` (created if absent), as root, modes kept."""
        ...

    def get_archive(self, directory: str, limit: int) -> bytes:
        """The regular files directly in `directory` as an uncompressed tar of at most `limit` bytes.

        Raises:
            BackendError: the directory does not exist or holds more than `limit` bytes.
        """
        ...


@runtime_checkable
class Sweeper(Protocol):
    """A backend that can find and remove what dead harnesses left behind."""

    def sweep(self) -> list[str]:
        """Remove leftovers, never what a live harness owns; returns one line for each thing removed."""
        ...


@runtime_checkable
class Closable(Protocol):
    """A backend that holds something (a helper process, connections) worth letting go of."""

    def close(self) -> None:
        """Terminate what is left and let go; the backend may be used again afterwards."""
        ...


@runtime_checkable
class Sized(Protocol):
    """A backend whose sandboxes share one machine: more judgements at once than that has processors only make each
    slower, up to its time limit."""

    @property
    def processors(self) -> int:
        """How many there are to share."""
        ...


@runtime_checkable
class Roomy(Protocol):
    """A backend that knows how many sandboxes at once suit its machine."""

    def room(self) -> tuple[int, str]:
        """How many, at least one, and the reckoning in a few words for people."""
        ...


@runtime_checkable
class Budgeted(Protocol):
    """A backend that keeps images on a disk, and can keep them within so many bytes.

    An image that `prepare_image` made ready stays until it is released. When there is no room for another, those go
    that nobody needs, the one needed least recently first: never one a sandbox uses, never one that was there before
    this backend brought it.
    """

    def keep_within(self, size: int | None) -> int:
        """Set the bound in bytes, 0 for none; None leaves it as the settings have it. Returns the bound in force."""
        ...

    def release_image(self, image: str) -> None:
        """No work is left for this image. Of one that is not there nothing is to be done."""
        ...


@runtime_checkable
class Foreseeing(Protocol):
    """A `Budgeted` backend that can tell whether an image may come before it is needed."""

    def fits_another(self) -> bool:
        """Whether an image like the largest there is has room, within the bound, beside all that must stay. False when
        there is none to judge by."""
        ...


Listener = Callable[[str, str | None], None]
"""``listener(what, how_far)``: what is waited for, and how far it is; None once the waiting is over."""


@runtime_checkable
class Telling(Protocol):
    """A backend with waits worth telling: an image that is pulled or built, a registry that wants patience."""

    def tell_by(self, listener: Listener) -> None:
        """From now on tell this listener, from whichever thread it happens in."""
        ...


@runtime_checkable
class MeteredSandbox(Protocol):
    """A sandbox whose vendor says what it has cost."""

    def cost(self) -> float | None:
        """US dollars so far, by the vendor's own reckoning; None while the vendor has none. Also after its end."""
        ...


@runtime_checkable
class PricedBackend(Protocol):
    """A backend whose sandboxes cost money."""

    def price(self) -> Price | None:
        """Of one sandbox, by list price; None where it is not known."""
        ...


@runtime_checkable
class Diagnosable(Protocol):
    """A backend that can say whether it would work here, and what to do if not."""

    def diagnose(self) -> list[tuple[bool, str]]:
        """One ``(fine, line)`` for each thing looked at; a line that is not fine names its remedy."""
        ...
