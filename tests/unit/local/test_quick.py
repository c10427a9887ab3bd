"""What PID 1 does itself with files, and what it leaves to a forked child."""

from __future__ import annotations

import os
import tarfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cooperbench.eval.backends.local.inside import archives, quick
from tests.unit.local.test_archives import _body, fill, member, names, steady

__all__ = ["_body"]

Members = list[tuple[tarfile.TarInfo, bytes]]


@steady
@given(st.dictionaries(names, st.binary(max_size=2000), max_size=5), st.integers(0o400, 0o7777))
def test_it_does_what_the_forked_child_would(
    tmp_path_factory: pytest.TempPathFactory, body: int, files: dict[str, bytes], mode: int
) -> None:
    fill(body, [(member(name, mode=mode), content) for name, content in files.items()], tarfile.PAX_FORMAT)
    slow, fast = tmp_path_factory.mktemp("slow"), tmp_path_factory.mktemp("fast")
    assert quick.unpack(body, str(fast)) == archives.unpack(body, str(slow)) == len(files)
    found = [
        {path.name: (path.read_bytes(), path.stat().st_mode) for path in at.iterdir()} for at in (slow, fast)
    ]
    assert found[0] == found[1]
    packed = [os.memfd_create(name) for name in ("slow", "fast")]
    for path in (slow, fast):
        for name in files:
            os.utime(path / name, (0, 0))
    assert (
        archives.pack(str(slow), 20_000, packed[0])
        == quick.pack(str(fast), 20_000, packed[1], str(fast))
        == len(files)
    )
    plain = [os.pread(descriptor, 1 << 20, 0).rstrip(b"\0") for descriptor in packed]
    for descriptor in packed:
        os.close(descriptor)
    assert plain[0] == plain[1]


def _one(kind: bytes = tarfile.REGTYPE, name: str = "file", content: bytes = b"x") -> Members:
    return [(member(name, kind, link="/etc"), content)]


LEFT: dict[str, Members] = {
    "a link": [*_one(), *_one(tarfile.SYMTYPE, "link", b"")],
    "a directory": _one(tarfile.DIRTYPE, content=b""),
    "a device": _one(tarfile.BLKTYPE, content=b""),
    "a member that leaves": _one(name="a/../../out"),
    "a tree in the way": _one(name="tree"),
    "a file for a directory": _one(name="big/below"),
    "a big file in the way": _one(name="big"),
    "many": [(member(f"file{n}"), b"x") for n in range(quick.MOST_FILES + 1)],
    "much": _one(content=bytes(quick.MOST_BYTES)),
}


@pytest.fixture
def littered(tmp_path: Path) -> Path:
    place = tmp_path / "place"
    (place / "tree" / "deep").mkdir(parents=True)
    (place / "big").write_bytes(bytes(quick.MOST_BYTES + 4096))
    return place


@pytest.mark.parametrize("what", LEFT)
def test_what_may_take_long_or_is_wrong_is_left(littered: Path, body: int, what: str) -> None:
    fill(body, LEFT[what])
    assert quick.unpack(body, str(littered)) is None
    assert not (littered.parent / "out").exists()


def test_an_archive_cut_short_is_left(tmp_path: Path, body: int) -> None:
    fill(body, _one(content=b"x" * 5000))
    os.ftruncate(body, 2000)
    assert quick.unpack(body, str(tmp_path)) is None


def test_nothing_is_written_through_a_link(tmp_path: Path, body: int) -> None:
    victim = tmp_path / "victim"
    victim.write_bytes(b"safe")
    (tmp_path / "file").symlink_to(victim)
    fill(body, [(member("file"), b"new")])
    assert quick.unpack(body, str(tmp_path)) == 1
    assert (victim.read_bytes(), (tmp_path / "file").read_bytes()) == (b"safe", b"new")


def test_what_may_be_long_to_pack_is_left(tmp_path: Path, body: int) -> None:
    many, much, flat = tmp_path / "many", tmp_path / "much", tmp_path / "file"
    many.mkdir()
    much.mkdir()
    flat.touch()
    for n in range(quick.MOST_FILES + 1):
        (many / str(n)).touch()
    (much / "sparse").touch()
    os.truncate(much / "sparse", quick.MOST_BYTES + 1)
    for place in (many, much, flat, tmp_path / "nowhere", Path("/proc/self"), Path("/sys/kernel")):
        assert quick.pack(str(place), 1 << 30, body, str(tmp_path)) is None, place
    os.truncate(much / "sparse", 1000)
    assert quick.pack(str(much), 999, body, str(tmp_path)) is None
    assert os.fstat(body).st_size == 0


def test_only_plain_files_are_packed(tmp_path: Path, body: int) -> None:
    (tmp_path / "file").write_bytes(b"x")
    (tmp_path / "directory").mkdir()
    (tmp_path / "link").symlink_to("/etc/passwd")
    os.mkfifo(tmp_path / "fifo")
    assert quick.pack(str(tmp_path), 100, body, str(tmp_path)) == 1
