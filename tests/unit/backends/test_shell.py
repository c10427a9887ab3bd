"""Jobs and files on backends that misbehave: each ends in one clear error, and always in `terminate`.

The backends here are users', written against the documented protocols; nothing of ours is replaced.
"""

# ruff: noqa: ARG002, ARG005 - the protocols name their parameters

from __future__ import annotations

import io
import logging
import os
import tarfile
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest

from cooperbench.errors import (
    BackendError,
    CooperBenchError,
    SandboxLost,
    SandboxStartError,
    SandboxTimeout,
    UsageError,
)
from cooperbench.eval.backends import shell
from cooperbench.eval.backends.base import Completed, ImageBackend, Recipe, SandboxSpec, offers
from cooperbench.eval.job import Job

JOB = Job("image", {"/job/go.sh": b"true"}, ("sh", "/job/go.sh"), "/out", 60)


@dataclass
class Result:
    """What the documentation's example returns."""

    returncode: Any = 0
    out: Any = "Command output"
    err: Any = ""

    def stdout_read(self) -> Any:
        return self.out

    def stderr_read(self) -> Any:
        return self.err


@dataclass
class Sandbox:
    """Answers every command with what `answer` gives for it."""

    answer: Callable[[tuple[str, ...]], Any] = lambda argv: Result()
    ended: int = 0
    seen: list[tuple[str, ...]] = field(default_factory=list)

    def exec(self, *args: str) -> Any:
        self.seen.append(args)
        return self.answer(args)

    def terminate(self) -> None:
        self.ended += 1


class Backend:
    """Gives one prepared sandbox, and notes what was asked for."""

    def __init__(self, sandbox: Any) -> None:
        self.sandbox = sandbox
        self.asked: tuple[Any, ...] = ()

    def create_sandbox(self, image: str, timeout: int = 600, workdir: str = "/workspace") -> Any:
        self.asked = (image, timeout, workdir)
        return self.sandbox


def raising(problem: BaseException) -> Callable[[Any], Any]:
    def answer(_: Any) -> Any:
        raise problem

    return answer


@dataclass
class Roads(Sandbox):
    """A sandbox with every fast road; `facts` are in its results directory."""

    facts: dict[str, bytes] = field(default_factory=dict)
    done: Any = field(default_factory=lambda: Completed(0))
    put: list[tuple[str, bytes]] = field(default_factory=list)

    def run(self, argv: Any, **wishes: Any) -> Any:
        self.seen.append(tuple(argv))
        if isinstance(self.done, Exception):
            raise self.done
        return self.done

    def put_archive(self, directory: str, archive: bytes) -> None:
        self.put.append((directory, archive))

    def get_archive(self, directory: str, limit: int) -> bytes:
        stream = io.BytesIO()
        with tarfile.open(fileobj=stream, mode="w") as archive:
            for name, content in self.facts.items():
                member = tarfile.TarInfo(name)
                member.size = len(content)
                archive.addfile(member, io.BytesIO(content))
        return stream.getvalue()


# -------------------------------------------------------------------------------------------- nonsense


def test_backend_that_only_pretends_is_an_error() -> None:
    sandbox = Sandbox()
    with pytest.raises(BackendError, match="unexpected answer 'Command output'"):
        shell.run_job(Backend(sandbox), JOB)
    assert sandbox.ended == 1


@pytest.mark.parametrize("out", ["", "0\n", "10240", "1", "ok\n" * 100])
def test_backend_that_guesses_is_an_error(out: str) -> None:
    with pytest.raises(BackendError, match="putting files into the sandbox failed"):
        shell.put_files(Sandbox(lambda _: Result(out=out)), {"/a": b"x" * 20_000})


@pytest.mark.parametrize("out", ["", "\n", "Command output", "-1\n", "12\nno base64!", "9" * 30, "3\nAAAA\n"])
def test_nonsense_for_files_is_an_error(out: str) -> None:
    with pytest.raises(BackendError):
        shell.get_files(Sandbox(lambda _: Result(out=out)), "/out")


@pytest.mark.parametrize(
    "result",
    [
        None,
        0,
        "output",
        Result(None),
        Result("0"),
        Result(True),
        Result(-1),
        Result(0.0),
        Result(out=None),
        Result(out=b"x"),
        Result(err=3),
        object(),
    ],
    ids=lambda result: repr(result).partition(" at 0x")[0],
)
def test_results_that_are_none(result: object) -> None:
    with pytest.raises(BackendError, match="the backend gave") as caught:
        shell.run(Sandbox(lambda _: result), ["true"])
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("sandbox", [None, "sandbox", object(), Backend(None)])
def test_sandboxes_that_are_none(sandbox: object) -> None:
    with pytest.raises(SandboxStartError, match=r"which has no exec\(\)"):
        shell.run_job(Backend(sandbox), JOB)


def test_errors_are_one_short_line() -> None:
    with pytest.raises(BackendError) as caught:
        shell.put_files(Sandbox(lambda _: Result(1, "", "no\nspace " * 10_000)), {"/a": b""})
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 500


# -------------------------------------------------------------------------------------------- exceptions


@pytest.mark.parametrize("problem", [RuntimeError("x"), KeyError("x"), OSError(28, "full"), RecursionError()])
def test_foreign_exceptions_become_ours(problem: Exception) -> None:
    sandbox = Sandbox(raising(problem))
    with pytest.raises(BackendError) as caught:
        shell.run_job(Backend(sandbox), JOB)
    assert caught.value.__cause__ is problem
    assert type(problem).__name__ in str(caught.value)
    assert sandbox.ended == 1


@pytest.mark.parametrize("problem", [SandboxLost("gone"), SandboxTimeout("over"), UsageError("no network")])
def test_our_exceptions_pass_as_they_are(problem: CooperBenchError) -> None:
    sandbox = Sandbox(raising(problem))
    with pytest.raises(type(problem)) as caught:
        shell.run_job(Backend(sandbox), JOB)
    assert caught.value is problem
    assert sandbox.ended == 1


def test_interrupt_terminates_and_passes() -> None:
    sandbox = Sandbox(raising(KeyboardInterrupt()))
    with pytest.raises(KeyboardInterrupt):
        shell.run_job(Backend(sandbox), JOB)
    assert sandbox.ended == 1


def test_creation_that_fails() -> None:
    class Broken:
        def create_sandbox(self, image: str, timeout: int = 600, workdir: str = "/workspace") -> Any:
            raise ConnectionError("refused")

    with pytest.raises(SandboxStartError, match="ConnectionError: refused"):
        shell.run_job(Broken(), JOB)


class CannotEnd(Roads):
    """`terminate` fails."""

    def terminate(self) -> None:
        raise OSError("engine is gone")


def test_failing_terminate_replaces_no_result(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        output = shell.run_job(Backend(CannotEnd(facts={"a": b"1"})), JOB)
    assert output.facts == {"a": b"1"}
    assert "engine is gone" in caplog.text


def test_failing_terminate_masks_no_exception() -> None:
    with pytest.raises(SandboxLost, match="died"):
        shell.run_job(Backend(CannotEnd(done=SandboxLost("died"))), JOB)


# -------------------------------------------------------------------------------------------- jobs


def test_job_is_one_call_each() -> None:
    sandbox = Roads(facts={"tests.1.rc": b"0\n", "tests.1.log": b"\xff"}, done=Completed(3, b"out", b"err"))
    backend = Backend(sandbox)
    output = shell.run_job(backend, JOB)
    assert output.facts == sandbox.facts
    assert (output.returncode, output.stdout, output.stderr, output.timed_out) == (3, b"out", b"err", False)
    assert sandbox.seen == [JOB.command]
    assert [directory for directory, _ in sandbox.put] == ["/"]
    assert sandbox.ended == 1
    assert list(output.timings) == ["create", "upload", "exec", "download", "terminate"]
    image, lifetime, workdir = backend.asked
    assert (image, workdir) == ("image", "/workspace")
    assert lifetime > JOB.timeout


def test_time_out_is_an_output_with_its_facts() -> None:
    sandbox = Roads(facts={"base": b"abc"}, done=Completed(124, b"so far", timed_out=True))
    output = shell.run_job(Backend(sandbox), JOB)
    assert (output.timed_out, output.returncode, output.facts) == (True, 124, {"base": b"abc"})


class FactsAreGone(Roads):
    """The results cannot be fetched."""

    def get_archive(self, directory: str, limit: int) -> bytes:
        raise SandboxLost("gone")


def test_time_out_without_facts_is_an_output_still() -> None:
    output = shell.run_job(Backend(FactsAreGone(done=Completed(124, timed_out=True))), JOB)
    assert (output.timed_out, output.facts) == (True, {})


def test_lifetime_over_during_the_command_is_a_time_out() -> None:
    output = shell.run_job(Backend(FactsAreGone(done=SandboxTimeout("over"))), JOB)
    assert (output.timed_out, output.returncode, output.facts) == (True, 124, {})


def test_missing_facts_are_an_error() -> None:
    with pytest.raises(SandboxLost):
        shell.run_job(Backend(FactsAreGone()), JOB)


def test_archive_that_is_none() -> None:
    class Strange(Roads):
        def get_archive(self, directory: str, limit: int) -> Any:
            return "text"

    with pytest.raises(BackendError, match=r"gave a builtins\.str as the archive of /out"):
        shell.run_job(Backend(Strange()), JOB)


def test_hostile_archive_is_an_error() -> None:
    class Hostile(Roads):
        def get_archive(self, directory: str, limit: int) -> bytes:
            return b"\x7fELF" * 300

    with pytest.raises(BackendError, match="broken archive"):
        shell.run_job(Backend(Hostile()), JOB)


# -------------------------------------------------------------------------------------------- roads


def test_spec_backend_gets_the_whole_spec() -> None:
    class Spec(Backend):
        def create(self, spec: SandboxSpec) -> Any:
            self.asked = (spec,)
            return self.sandbox

    backend, spec = Spec(Sandbox()), SandboxSpec("i", 1.5, "/w", "none", {"run": "r"})
    assert shell.create(backend, spec) is backend.sandbox
    assert backend.asked == (spec,)


def test_plain_backend_gets_whole_seconds() -> None:
    backend = Backend(Sandbox())
    shell.create(backend, SandboxSpec("i", 1.5, "/w", "none"))
    assert backend.asked == ("i", 2, "/w")


def test_put_pieces_stay_small() -> None:
    sandbox = Sandbox(lambda argv: Result(out=""))
    with pytest.raises(BackendError):  # the size is never said, so the last piece fails
        shell.put_files(sandbox, {"/a": bytes(range(256)) * 700, "/b": os.urandom(200_000)})
    assert len(sandbox.seen) > 4
    assert max(sum(len(word.encode()) + 1 for word in argv) for argv in sandbox.seen) < 48 * 1024


def test_nothing_to_put_is_no_call() -> None:
    sandbox = Sandbox()
    shell.put_files(sandbox, {})
    assert sandbox.seen == []


def test_small_files_are_one_call() -> None:
    sandbox = Sandbox(lambda argv: Result(out="10240\n"))
    shell.put_files(sandbox, {"/a": b"x" * 1000, "/b.sh": b"y"})
    assert len(sandbox.seen) == 1


@pytest.mark.parametrize("name", ["", "A B", "A=B", "-u", "1A", "A\nB"])
def test_variable_names_are_checked(name: str) -> None:
    with pytest.raises(UsageError, match="environment variable"):
        shell.run(Sandbox(), ["true"], env={name: "x"})


def test_plain_command_is_passed_as_it_is() -> None:
    sandbox = Sandbox(lambda _: Result(5, "o", "é"))
    done = shell.run(sandbox, ["a=b", "c d"])
    assert sandbox.seen == [("a=b", "c d")]
    assert done == Completed(5, b"o", "é".encode())


def test_exit_code_124_alone_is_no_time_out() -> None:
    def answer(argv: tuple[str, ...]) -> Result:
        return Result(1 if argv[0] == "rm" else 124, "")

    assert shell.run(Sandbox(answer), ["x"], timeout=5).timed_out is False


def test_images_of_plain_backends_have_no_digest() -> None:
    assert shell.prepare_image(Backend(None), "i", None) is None


def test_prepared_image() -> None:
    class Images(Backend):
        def prepare_image(self, image: str, recipe: Recipe | None) -> Any:
            return {"good": "sha256:1", "none": None, "odd": 7}[image]

    backend = Images(None)
    assert shell.prepare_image(backend, "good", None) == "sha256:1"
    assert shell.prepare_image(backend, "none", None) is None
    with pytest.raises(BackendError, match=r"gave a builtins\.int as the digest"):
        shell.prepare_image(backend, "odd", None)
    with pytest.raises(SandboxStartError, match="KeyError"):
        shell.prepare_image(backend, "missing", None)


def test_a_road_may_be_the_object_s_own() -> None:
    backend: Any = Backend(Sandbox())
    assert not offers(backend, ImageBackend)
    backend.prepare_image = lambda image, recipe: "sha256:0"
    assert offers(backend, ImageBackend)
    backend.prepare_image = None
    assert not offers(backend, ImageBackend)
