"""Jobs, whole, on every backend: what a judge needs of `run_job`, over fast roads and over bare `exec`."""

from __future__ import annotations

import contextlib
import dataclasses
import os

import pytest

from cooperbench.errors import BackendError, SandboxStartError
from cooperbench.eval.backends import shell
from cooperbench.eval.backends.base import SandboxSpec
from cooperbench.eval.job import Job, JobOutput
from tests.contract.conftest import Held


def run(held: Held, script: str, *, timeout: float = 60, **files: bytes) -> JobOutput:
    """Run a script that leaves its facts in /facts; `files` are put in /given."""
    put = {"/job/go.sh": script.encode(), **{f"/given/{name}": content for name, content in files.items()}}
    job = Job(
        held.candidate.image, put, ("sh", "/job/go.sh", "an argument"), "/facts", timeout, {"GIVEN": "a b"}
    )
    return shell.run_job(held.backend, job)


def test_facts_come_back_byte_for_byte(held: Held) -> None:
    patch = bytes(range(256)) * 600  # longer than the kernel lets an argument be
    script = 'mkdir /facts; cp /given/patch /facts; printf %s "$1-$GIVEN" >/facts/said; echo out; echo err >&2; exit 3'
    output = run(held, script, patch=patch)
    assert output.facts == {"patch": patch, "said": b"an argument-a b"}
    assert (output.returncode, output.stdout, output.stderr) == (3, b"out\n", b"err\n")
    assert output.timed_out is False
    assert set(output.timings) == {"create", "upload", "exec", "download", "terminate"}


def test_out_of_time_keeps_the_facts_so_far(held: Held) -> None:
    script = (
        "mkdir /facts; echo 1 >/facts/first; echo so far; setsid sleep 300 & sleep 300; echo 2 >/facts/second"
    )
    for limit in (1, 5, 25):  # the machine may be slow
        with contextlib.suppress(BackendError):
            output = run(held, script, timeout=limit)
            if output.facts:
                break
    assert (output.timed_out, output.returncode, output.stdout) == (True, 124, b"so far\n")
    assert output.facts == {"first": b"1\n"}


def test_no_facts_is_an_error(held: Held) -> None:
    with pytest.raises(BackendError, match="/facts"):
        run(held, "exit 0")


def test_a_flood_of_facts_is_an_error(held: Held) -> None:
    flood = "mkdir /facts; cd /facts; i=0; while [ $i -lt 1100 ]; do : >f$i; i=$((i + 1)); done"
    with pytest.raises(BackendError, match="1000"):
        run(held, flood)


def test_a_sparse_file_is_not_unfolded(held: Held) -> None:
    with pytest.raises(BackendError):
        run(held, "mkdir /facts; dd if=/dev/zero of=/facts/huge bs=1 count=1 seek=8589934592 2>/dev/null")


def test_an_unknown_image_is_a_start_error(held: Held) -> None:
    lost = dataclasses.replace(held, candidate=dataclasses.replace(held.candidate, image="no/such:image"))
    with pytest.raises(SandboxStartError) as caught:
        run(lost, "true")
    assert "\n" not in str(caught.value)


def test_files_larger_than_one_piece_come_back(held: Held) -> None:
    content = os.urandom(6_000_000)
    sandbox = shell.create(held.backend, SandboxSpec(held.candidate.image))
    try:
        shell.put_files(sandbox, {"/srv/f/x": content})
        assert shell.get_files(sandbox, "/srv/f") == {"x": content}
        assert shell.run(sandbox, ["ls", "-A", "/tmp/.cooperbench"]).stdout_read() == "", (
            "nothing is left on the way"
        )
    finally:
        shell.terminate(sandbox)


def test_wishes_together(held: Held) -> None:
    sandbox = shell.create(held.backend, SandboxSpec(held.candidate.image))
    try:
        script = 'pwd; printf "%s|" "$A" "$B" "$@"; cat'
        done = shell.run(
            sandbox,
            ["sh", "-c", script, "sh", "x y", ""],
            timeout=50,
            env={"A": "1=2", "B": ""},
            cwd="/usr",
            stdin=b"\0in\xff",
        )
        assert done.stdout.replace("\ufffd".encode(), b"\xff") == b"/usr\n1=2||x y||\0in\xff"
        assert (done.returncode, done.timed_out) == (0, False)
    finally:
        shell.terminate(sandbox)
