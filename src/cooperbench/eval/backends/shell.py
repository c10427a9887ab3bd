"""Everything done with a sandbox, written once over `exec`, by a backend's own faster road where it has one.

The shell side is in the ``.sh`` files beside this one; they need a POSIX shell and what a plain Debian and
busybox both have. A backend may be anybody's: whatever it answers or raises passes through `doubt.py`.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import gzip
import logging
import math
import re
import secrets
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from importlib import resources
from time import perf_counter

from cooperbench.errors import BackendError, SandboxLost, SandboxStartError, SandboxTimeout, UsageError
from cooperbench.eval.backends.archive import MAX_FILES, decompress, pack, unpack
from cooperbench.eval.backends.base import (
    ArchiveSandbox,
    CommandSandbox,
    Completed,
    EvalBackend,
    ImageBackend,
    Recipe,
    Sandbox,
    SandboxSpec,
    SpecBackend,
    offers,
)
from cooperbench.eval.backends.doubt import completed, guarded, kind, line, short
from cooperbench.eval.job import Job, JobOutput

logger = logging.getLogger(__name__)

TIMED_OUT = 124
"""Exit code of a command that its time limit ended."""

_UPLOAD = 44_000
"""Characters of base64 in one call: with its script under 48 KiB, inside every limit known on an argv."""

_DOWNLOAD = 2 * 1024 * 1024
"""Bytes in one call, before base64: no backend of ours caps output that low."""

_MARGIN = 120
"""Seconds a sandbox lives beyond its Job's command: start, upload and download of a slow backend."""

_TEMPORARY = "/tmp/.cooperbench"
"""Directory in the sandbox for what is on its way; the scripts make it."""


# -------------------------------------------------------------------------------------------- sandboxes


def create(backend: EvalBackend, spec: SandboxSpec) -> Sandbox:
    """A new sandbox; a backend without `create` gets the documented arguments: image, timeout, workdir."""
    with guarded("creating a sandbox", SandboxStartError):
        if offers(backend, SpecBackend):
            sandbox = backend.create(spec)
        else:
            sandbox = backend.create_sandbox(spec.image, math.ceil(spec.timeout), spec.workdir)
    for method in ("exec", "terminate"):
        if not callable(getattr(sandbox, method, None)):
            raise SandboxStartError(
                f"the backend gave a {kind(sandbox)}, which has no {method}(), as a sandbox"
            )
    return sandbox


def prepare_image(backend: EvalBackend, image: str, recipe: Recipe | None) -> str | None:
    """Make `image` ready; its digest, or None where the backend knows of none."""
    if not offers(backend, ImageBackend):
        return None
    with guarded(f"preparing image {image}", SandboxStartError):
        digest = backend.prepare_image(image, recipe)
    if digest is not None and not isinstance(digest, str):
        raise BackendError(f"the backend gave a {kind(digest)} as the digest of image {image}")
    return digest


# -------------------------------------------------------------------------------------------- commands


def run(
    sandbox: Sandbox,
    argv: Sequence[str],
    *,
    timeout: float | None = None,
    env: Mapping[str, str] | None = None,
    cwd: str | None = None,
    stdin: bytes | None = None,
) -> Completed:
    """Run one program, as `CommandSandbox.run` describes, on any sandbox.

    A time limit on a sandbox that has only `exec` is in whole seconds, rounded up.
    """
    if offers(sandbox, CommandSandbox):
        with guarded(f"running {argv[0]}"):
            return completed(sandbox.run(argv, timeout=timeout, env=env, cwd=cwd, stdin=stdin))
    command = with_environment(argv, env or {})
    if stdin is not None:
        command = _reading(sandbox, command, stdin)
    if cwd is not None:
        command = ["sh", "-c", 'CDPATH= cd -- "$1" && shift && exec "$@"', "sh", cwd, *command]
    if timeout is not None:
        return _run_limited(sandbox, command, timeout)
    return _exec(sandbox, command)


def limited(command: Sequence[str], timeout: float) -> tuple[list[str], str]:
    """The same command under a time limit, and the file in the sandbox that says, after exit code `TIMED_OUT`, that the
    limit ended it."""
    token = secrets.token_hex(8)
    marker = f"{_TEMPORARY}/{token}"
    seconds = str(max(1, math.ceil(timeout)))
    hunt = _script("hunt.sh") + _script("limit.sh")
    limit = ["sh", "-c", hunt, "limit", seconds, marker, f"COOPERBENCH_LIMIT_{token}"]
    return [*limit, *_plainly_named(command)], marker


def _run_limited(sandbox: Sandbox, command: Sequence[str], timeout: float) -> Completed:
    under_limit, marker = limited(command, timeout)
    done = _exec(sandbox, under_limit)
    # The exit code alone proves nothing, any program may exit 124; the marker is not in the command's hands.
    timed_out = done.returncode == TIMED_OUT and _exec(sandbox, ["rm", marker]).returncode == 0
    return Completed(done.returncode, done.stdout, done.stderr, timed_out, done.truncated)


def with_environment(command: Sequence[str], env: Mapping[str, str]) -> list[str]:
    """The same command with these variables added to its environment."""
    for name in env:
        if re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name) is None:
            raise UsageError(f"{name!r} cannot be the name of an environment variable")
    if not env:
        return list(command)
    return ["env", *(f"{name}={value}" for name, value in env.items()), *_plainly_named(command)]


def _plainly_named(command: Sequence[str]) -> list[str]:
    """The same command, such that env(1) cannot take its name for an assignment."""
    return ["sh", "-c", 'exec "$@"', "sh", *command] if "=" in command[0] else list(command)


def _reading(sandbox: Sandbox, command: list[str], stdin: bytes) -> list[str]:
    """The same command, with `stdin` as its standard input: a file that is gone once it is open."""
    path = f"{_TEMPORARY}/{secrets.token_hex(8)}"
    put_files(sandbox, {path: stdin})
    return ["sh", "-c", 'exec <"$1" && rm -f "$1" && shift && exec "$@"', "sh", path, *command]


def _exec(sandbox: Sandbox, command: Sequence[str]) -> Completed:
    with guarded(f"running {command[0]}"):
        return completed(sandbox.exec(*command))


# -------------------------------------------------------------------------------------------- files


def put_files(sandbox: Sandbox, files: Mapping[str, bytes]) -> None:
    """Write files by absolute path, making directories; ``*.sh`` and files in a ``bin`` are executable."""
    if not files:
        return
    archive = pack(files)
    if offers(sandbox, ArchiveSandbox):
        with guarded("putting files"):
            sandbox.put_archive("/", archive)
    else:
        upload(sandbox, archive)


def get_files(sandbox: Sandbox, directory: str, limit: int = 64 * 1024 * 1024) -> dict[str, bytes]:
    """The regular files directly in `directory`, by name; links and directories are passed over.

    Raises:
        BackendError: no such directory, or it holds more than `limit` bytes (as a tar archive) or 1000 files.
    """
    if offers(sandbox, ArchiveSandbox):
        with guarded(f"getting {directory}"):
            archive = sandbox.get_archive(directory, limit)
        if not isinstance(archive, bytes):
            raise BackendError(f"the backend gave a {kind(archive)} as the archive of {directory}")
    else:
        archive = decompress(download(sandbox, directory, limit), limit)
    return unpack(archive, limit) if archive else {}


def upload(sandbox: Sandbox, archive: bytes, directory: str = "/") -> None:
    """Unpack an archive under `directory`, by commands alone."""
    text = base64.b64encode(gzip.compress(archive, 6)).decode("ascii")
    spool = f"{_TEMPORARY}/{secrets.token_hex(8)}"
    for start in range(0, len(text), _UPLOAD):
        last = start + _UPLOAD >= len(text)
        piece = (spool, text[start : start + _UPLOAD], directory if last else "more")
        answer = _exec(sandbox, ["sh", "-c", _script("receive.sh"), "receive", *piece])
        expected = str(len(archive)) if last else ""
        if answer.returncode != 0 or answer.stdout_read().strip() != expected:
            raise BackendError(f"putting files into the sandbox failed: {_shown(answer)}")


def download(sandbox: Sandbox, directory: str, limit: int, chunk: int = _DOWNLOAD) -> bytes:
    """The compressed archive of `directory`'s files, fetched `chunk` bytes a call, by commands alone."""
    spool = f"{_TEMPORARY}/{secrets.token_hex(8)}"
    fixed = (str(chunk), directory, str(limit), str(MAX_FILES))
    packed = b""
    while True:
        offset = str(len(packed))
        answer = _exec(sandbox, ["sh", "-c", _script("send.sh"), "send", spool, offset, *fixed])
        total, piece = _piece(answer, directory)
        packed += piece
        if not piece or len(packed) >= total:
            return packed
        if len(packed) > 2 * limit:
            raise BackendError(f"the sandbox sent more than {limit} bytes")


def _piece(answer: Completed, directory: str) -> tuple[int, bytes]:
    head, _, text = answer.stdout.partition(b"\n")
    if answer.returncode != 0 or not head.isdigit() or len(head) > 18:
        raise BackendError(f"getting {directory} from the sandbox failed: {_shown(answer)}")
    try:
        return int(head), base64.b64decode(b"".join(text.split()), validate=True)
    except binascii.Error as problem:
        raise BackendError(f"getting {directory} from the sandbox failed: {problem}") from problem


# -------------------------------------------------------------------------------------------- jobs


def run_job(backend: EvalBackend, job: Job) -> JobOutput:
    """Run a Job in a sandbox of its own: create, one upload, one exec, one download, and terminate always.

    A command that ran out of time is an output with `timed_out`, and with what facts could be had.

    Raises:
        BackendError: anything else that went wrong; there is no output then.
    """
    timings: dict[str, float] = {}
    spec = SandboxSpec(job.image, lifetime(job), network=job.network, labels=job.labels, user="root")
    with _timed(timings, "create"):
        sandbox = create(backend, spec)
    try:
        with _timed(timings, "upload"):
            put_files(sandbox, job.files)
        with _timed(timings, "exec"):
            done = _run_command(sandbox, job)
        with _timed(timings, "download"):
            facts = _facts(sandbox, job.results, done)
    finally:
        with _timed(timings, "terminate"):
            terminate(sandbox)
    return JobOutput(facts, done.returncode, done.stdout, done.stderr, done.timed_out, timings)


def lifetime(job: Job) -> float:
    """Seconds the sandbox of a Job lives."""
    return job.timeout + _MARGIN


def terminate(sandbox: Sandbox) -> None:
    """End a sandbox. Failing at it is only logged: it must not replace the result or exception at hand."""
    try:
        sandbox.terminate()
    except Exception as problem:  # a user's backend may raise anything
        logger.warning("a sandbox could not be terminated: %s", line(problem))


def _run_command(sandbox: Sandbox, job: Job) -> Completed:
    try:
        return run(sandbox, job.command, timeout=job.timeout, env=job.env)
    except SandboxTimeout:
        # It outlived its limit, perhaps by killing the watchdog, until the sandbox's own life ended it.
        return Completed(TIMED_OUT, timed_out=True)


def _facts(sandbox: Sandbox, directory: str, done: Completed) -> dict[str, bytes]:
    """Without facts an ended command is still an output; a finished one must have left some."""
    try:
        return get_files(sandbox, directory)
    except SandboxLost:
        if done.timed_out:
            return {}
        raise
    except BackendError:
        if done.timed_out or done.returncode != 0:
            return {}
        raise


@contextlib.contextmanager
def _timed(timings: dict[str, float], stage: str) -> Iterator[None]:
    start = perf_counter()
    try:
        yield
    finally:
        timings[stage] = perf_counter() - start


@cache
def _script(name: str) -> str:
    return resources.files(__package__).joinpath(name).read_text("utf-8")


def _shown(answer: Completed) -> str:
    said = short(answer.stderr_read()) or f"unexpected answer {short(answer.stdout_read())!r}"
    return f"exit code {answer.returncode}, {said}"
