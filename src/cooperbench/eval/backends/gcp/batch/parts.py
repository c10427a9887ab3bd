"""What the agent wrote of a batch, read with distrust: code under judgement had a hand in the contents."""

from __future__ import annotations

from collections.abc import Iterator

from cooperbench.errors import BackendError, SandboxLost, SandboxStartError
from cooperbench.eval.backends.archive import decompress, unpack
from cooperbench.eval.backends.batch import Outcome
from cooperbench.eval.job import JobOutput

_MOST = 256 << 20
"""Bytes of one part, unpacked: the agent writes one out at 8 MiB, or after an item of at most 70."""
_FACTS = 64 << 20
"""Bytes of one item's facts, as `shell.get_files` has it."""
_STAGES = ("create", "upload", "exec", "download", "terminate")


def outcomes(content: bytes) -> Iterator[tuple[int, Outcome]]:
    """Each item's number and what it came to.

    Raises:
        BackendError: this is no part of a batch, or a damaged one.
    """
    plain = decompress(content, _MOST)
    at = 0
    while at < len(plain):
        end = plain.find(b"\n", at, at + 300)
        fields = plain[at:end].decode("ascii", "replace").split() if end >= 0 else []
        numbers = _numbers(fields)
        if numbers is None:
            raise BackendError("the batch left results that cannot be read")
        item, code, timed_out, out, err, facts, *times = numbers
        body = plain[end + 1 : (at := end + 1 + out + err + max(0, facts))]
        if at > len(plain):
            raise BackendError("the batch left results that are cut short")
        said = body[out : out + err]
        if fields[1] == "ok":
            archive = body[out + err :] if facts >= 0 else None
            yield item, _output(code, bool(timed_out), body[:out], said, archive, times)
        else:
            kind = SandboxStartError if fields[1] == "start" else SandboxLost
            yield item, kind(" ".join(said.decode("utf-8", "replace").split()) or "no reason was given")


def _numbers(fields: list[str]) -> list[int] | None:
    """The numbers of a head line, without the word that is its second."""
    if len(fields) != 7 + len(_STAGES) or fields[1] not in ("ok", "start", "lost"):
        return None
    numbers = [fields[0], *fields[2:]]
    if not all(each.removeprefix("-").isdecimal() and len(each) < 13 for each in numbers):
        return None
    values = [int(each) for each in numbers]
    return values if min(values) >= -1 and min(values[0], values[3], values[4]) >= 0 else None


def _output(
    code: int, timed_out: bool, out: bytes, err: bytes, archive: bytes | None, times: list[int]
) -> Outcome:
    """As `shell.run_job` would have it: without facts an ended command is still an output."""
    timings = dict(zip(_STAGES, (each / 100 for each in times), strict=True))
    try:
        if archive is None:
            raise BackendError("the command left no facts")
        facts = unpack(archive, _FACTS)
    except BackendError as problem:
        if not timed_out and code == 0:
            return problem
        facts = {}
    return JobOutput(facts, code, out, err, timed_out, timings)
