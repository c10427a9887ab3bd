"""A batch as objects: what goes up, what comes back, what is noted of it, what it will cost."""

from __future__ import annotations

import gzip
import io
import json
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cooperbench.budget import Budget
from cooperbench.errors import BackendError, SandboxLost, SandboxStartError, UsageError
from cooperbench.eval.backends.archive import pack, unpack
from cooperbench.eval.backends.batch import Work
from cooperbench.eval.backends.gcp import config
from cooperbench.eval.backends.gcp.batch import cost
from cooperbench.eval.backends.gcp.batch.packing import chunk_size, ordered, pack_all
from cooperbench.eval.backends.gcp.batch.parts import outcomes
from cooperbench.eval.backends.gcp.batch.record import Record, from_json, new_identity
from cooperbench.eval.job import Job, JobOutput

SETTINGS = config.settings({"project_id": "a-project", "mirror": "m.example/hub"}, {})


def work(number: int, image: str = "an/image:1") -> Work:
    job = Job(image, {f"/w/{number}": b"content %d" % number}, ("judge", "it's"), "/facts", 60)
    return Work(f"key-{number}", image, lambda: job)


# -------------------------------------------------------------------------------------------- going up


def test_works_of_one_image_are_together() -> None:
    works = [work(1, "b"), work(2, "a"), work(3, "b"), work(4, "a")]
    assert [each.key for each in ordered(works)] == ["key-2", "key-4", "key-1", "key-3"]


@pytest.mark.parametrize(
    ("items", "slots", "size"), [(1, 1, 1), (8, 4, 1), (600, 200, 1), (2000, 8, 84), (10_000, 8, 417)]
)
def test_a_slot_claims_some_at_a_time(items: int, slots: int, size: int) -> None:
    assert chunk_size(items, slots) == size


def test_the_manifest_leads_to_every_item(tmp_path: Path) -> None:
    works = [work(number) for number in range(7)]
    file = io.BytesIO()
    packed = pack_all(works, 1, SETTINGS, file)
    head, *lines = packed.manifest.decode().splitlines()
    assert head == f"{len(lines)} 1"
    assert packed.longest == 180
    seen: list[int] = []
    for line in lines:
        name, offset, script, length, first, last, lease = line.split()
        assert name == "work"
        chunk = gzip.decompress(file.getvalue()[int(offset) :][: int(length)])
        said = items(tmp_path, chunk[: int(script)])
        assert [int(words[0]) for words in said] == list(range(int(first), int(last) + 1))
        assert int(lease) == 600 + 180 * len(said)
        for number, image, network, seconds, results, marker, start, size, *command in said:
            archive = chunk[int(script) + int(start) :][: int(size)]
            assert archive == pack({f"/w/{number}": b"content " + number.encode()})
            assert (image, network, seconds, results) == (
                "m.example/hub/an/image:1",
                "none",
                "180",
                "/facts",
            )
            assert marker in command
            assert command[-2:] == ["judge", "it's"]
            seen.append(int(number))
    assert seen == list(range(7))


def items(directory: Path, script: bytes) -> list[list[str]]:
    """The arguments of each `item`, as a shell reads them."""
    path = directory / "chunk.sh"
    path.write_bytes(b'item() { printf \'%s\\0\' "$#" "$@"; }\n' + script)
    words = subprocess.run(["sh", path], capture_output=True, check=True).stdout.decode().split("\0")
    found = []
    while words[0]:
        count = int(words.pop(0))
        found.append([words.pop(0) for _ in range(count)])
    return found


# -------------------------------------------------------------------------------------------- coming back


def part(*records: bytes) -> bytes:
    return gzip.compress(b"".join(records), mtime=0)


def record(head: str, out: bytes = b"", err: bytes = b"", facts: bytes | None = None) -> bytes:
    lengths = f"{len(out)} {len(err)} {-1 if facts is None else len(facts)}"
    return f"{head} {lengths} 150 0 200 1 2\n".encode() + out + err + (facts or b"")


FACTS = pack({"/done": b"yes\n"})


def test_outcomes_are_what_run_job_gives() -> None:
    [(number, output)] = outcomes(part(record("7 ok 3 0", b"said", b"complained", FACTS)))
    assert number == 7
    assert isinstance(output, JobOutput)
    assert output.facts == {"done": b"yes\n"}
    assert (output.returncode, output.stdout, output.stderr, output.timed_out) == (
        3,
        b"said",
        b"complained",
        False,
    )
    assert output.timings == {"create": 1.5, "upload": 0, "exec": 2, "download": 0.01, "terminate": 0.02}


def test_no_facts_are_an_error_only_of_a_command_that_succeeded() -> None:
    sound, failed, late = outcomes(
        part(record("0 ok 0 0"), record("1 ok 90 0", err=b"no git"), record("2 ok 124 1"))
    )
    assert isinstance(sound[1], BackendError)
    assert isinstance(failed[1], JobOutput)
    assert (failed[1].facts, failed[1].stderr) == ({}, b"no git")
    assert isinstance(late[1], JobOutput)
    assert late[1].timed_out is True


def test_trouble_is_an_exception_and_never_an_output() -> None:
    start, lost = outcomes(part(record("0 start 0 0", err=b"no\nimage"), record("1 lost 137 0", err=b"gone")))
    assert type(start[1]) is SandboxStartError
    assert str(start[1]) == "no image"
    assert type(lost[1]) is SandboxLost


def test_facts_that_are_no_archive_are_an_error_of_their_item_alone() -> None:
    broken, sound = outcomes(part(record("0 ok 0 0", facts=b"x" * 512), record("1 ok 0 0", facts=FACTS)))
    assert type(broken[1]) is BackendError
    assert isinstance(sound[1], JobOutput)


@pytest.mark.parametrize(
    "content",
    [
        b"no gzip",
        part(b"0 ok 0 0 0 0 -1 1 1 1 1\n"),
        part(b"0 fine 0 0 0 0 -1 1 1 1 1 1\n"),
        part(b"0 ok 0 0 -1 0 -1 1 1 1 1 1\n"),
        part(b"x ok 0 0 0 0 -1 1 1 1 1 1\n"),
        part(b"0 ok 0 0 5 0 -1 1 1 1 1 1\nshor"),
        part(b"no line feed"),
        part(record("0 ok 0 0"))[:-9],
    ],
)
def test_a_damaged_part_is_one_clear_line(content: bytes) -> None:
    with pytest.raises(BackendError) as caught:
        list(outcomes(content))
    assert "\n" not in str(caught.value)


@given(st.binary(max_size=400))
def test_any_bytes_are_outcomes_or_an_error(content: bytes) -> None:
    try:
        found = list(outcomes(gzip.compress(content)))
    except BackendError:
        return
    assert all(number >= 0 for number, _ in found)


def test_what_the_agent_packs_is_what_is_unpacked() -> None:
    assert unpack(FACTS, 1 << 20) == {"done": b"yes\n"}


# -------------------------------------------------------------------------------------------- noted


def noted() -> Record:
    job_id, request_id = new_identity()
    labels = {"kind": "batch"}
    place = ("a-project", "us-central1", "a-bucket", "n1-standard-4")
    return Record(job_id, request_id, *place, ("a", "b"), 2, 1, 60.5, True, labels)


def test_a_record_survives_the_disk() -> None:
    record = noted()
    assert from_json(json.loads(json.dumps(record.to_json()))) == record


@pytest.mark.parametrize("name", ["job_id", "keys", "slots", "submitted"])
def test_a_record_that_is_none_says_what_to_do(name: str) -> None:
    found = noted().to_json()
    del found[name]
    with pytest.raises(BackendError, match=r"batch\.json"):
        from_json(found)


# -------------------------------------------------------------------------------------------- costing


def test_an_estimate_says_that_it_is_one() -> None:
    guess = cost.estimate(SETTINGS, [work(n) for n in range(1000)], 200, 2, True)
    assert guess.machines == 100
    assert guess.dollars is not None
    assert 0.5 < guess.dollars < 5
    told = guess.told(SETTINGS, True)
    assert "an estimate" in told
    assert "n1-standard-4 (Spot)" in told
    dearer = cost.estimate(SETTINGS, [work(n) for n in range(1000)], 200, 2, False)
    assert dearer.dollars is not None
    assert dearer.dollars > guess.dollars


def test_too_dear_is_refused_before_anything_is_submitted() -> None:
    guess = cost.estimate(SETTINGS, [work(1)], 1, 1, True)
    cost.hold(guess, Budget(), "n1-standard-4")
    cost.hold(guess, Budget(5), "n1-standard-4")
    with pytest.raises(UsageError, match=r"more than the \$0\.001 of --max-cost"):
        cost.hold(guess, Budget(0.001), "n1-standard-4")
    with pytest.raises(UsageError, match=r"more than the \$0\.00 left of --max-cost"):
        cost.hold(guess, Budget(5, spent=4.999), "n1-standard-4")


def test_a_bound_nobody_can_keep_is_refused() -> None:
    unpriced = config.settings({"machine_type": "a3-highgpu-8g"}, {})
    guess = cost.estimate(unpriced, [work(1)], 1, 1, True)
    with pytest.raises(UsageError, match="no price is known"):
        cost.hold(guess, Budget(5), "a3-highgpu-8g")
