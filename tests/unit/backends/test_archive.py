"""Archives out of a sandbox are hostile bytes; archives into it keep every byte of ours."""

from __future__ import annotations

import gzip
import io
import tarfile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cooperbench.errors import BackendError, UsageError
from cooperbench.eval.backends.archive import MAX_FILES, decompress, pack, unpack

LIMIT = 1_000_000

names = st.text(st.characters(codec="utf-8", exclude_characters="/\0"), min_size=1).filter(
    lambda name: name not in (".", "..")
)


def tar(*members: tuple[str, bytes], **fields: object) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        for name, content in members:
            member = tarfile.TarInfo(name)
            member.size = len(content)
            for field, value in fields.items():
                setattr(member, field, value)
            archive.addfile(member, io.BytesIO(content))
    return stream.getvalue()


@given(st.dictionaries(names, st.binary(max_size=2000), max_size=5))
def test_what_is_packed_comes_back(files: dict[str, bytes]) -> None:
    assert unpack(pack({f"/{name}": content for name, content in files.items()}), LIMIT) == files


def test_paths_are_kept_and_modes_follow_them() -> None:
    files = {"/a/run.sh": b"1", "/usr/local/bin/coop": b"2", "/patches/x.patch": b"3", "/bin/dir/x": b"4"}
    with tarfile.open(fileobj=io.BytesIO(pack(files))) as archive:
        modes = {member.name: member.mode for member in archive}
    assert modes == {
        "a/run.sh": 0o755,
        "usr/local/bin/coop": 0o755,
        "patches/x.patch": 0o644,
        "bin/dir/x": 0o644,
    }


@pytest.mark.parametrize("path", ["", "a", "/", "/a/", "/a/../b", "/..", "/a\0b"])
def test_paths_that_are_refused(path: str) -> None:
    with pytest.raises(UsageError, match="absolute path"):
        pack({path: b""})


@given(st.binary(max_size=3000))
def test_any_bytes_are_files_or_an_error(junk: bytes) -> None:
    try:
        files = unpack(junk, LIMIT)
    except BackendError:
        return
    assert files == {}, "an archive by chance holds nothing"


@given(st.data())
def test_any_damage_is_files_or_an_error(data: st.DataObject) -> None:
    archive = bytearray(tar(("a", b"x" * 700), ("b" * 150, b"y"), ("./c", b"")))
    for _ in range(data.draw(st.integers(1, 6))):
        at = data.draw(st.integers(0, len(archive) - 1))
        archive[at] = data.draw(st.integers(0, 255))
    try:
        files = unpack(bytes(archive[: data.draw(st.integers(0, len(archive)))]), LIMIT)
    except BackendError:
        return
    assert not any("/" in name or name in ("", ".", "..") for name in files)


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE])
def test_what_is_not_a_regular_file_is_passed_over(kind: bytes) -> None:
    assert unpack(tar(("x", b""), type=kind, linkname="/etc/passwd"), LIMIT) == {}


@pytest.mark.parametrize("name", ["/etc/x", "../x", "a/b", "./a/b", "..", ".", "./.."])
def test_what_lies_elsewhere_is_passed_over(name: str) -> None:
    assert unpack(tar((name, b"evil"), ("ok", b"1")), LIMIT) == {"ok": b"1"}


def test_a_name_twice_is_an_error() -> None:
    with pytest.raises(BackendError, match="'a' twice"):
        unpack(tar(("a", b"1"), ("./a", b"2")), LIMIT)


def test_too_many_bytes() -> None:
    assert unpack(tar(("a", b"123"), ("b", b"45")), 5) == {"a": b"123", "b": b"45"}
    with pytest.raises(BackendError, match="more than 4 bytes"):
        unpack(tar(("a", b"123"), ("b", b"45")), 4)


def test_a_claimed_size_is_not_believed() -> None:
    member = tarfile.TarInfo("huge")
    member.size = 1 << 60
    with pytest.raises(BackendError, match="more than"):
        unpack(member.tobuf(tarfile.GNU_FORMAT) + bytes(1024), LIMIT)


def test_a_file_cut_short() -> None:
    archive = tar(("a", b"x" * 5000))
    with pytest.raises(BackendError, match="broken archive"):
        unpack(archive[:3000], LIMIT)


def test_too_many_files() -> None:
    members = [(f"f{number}", b"") for number in range(MAX_FILES + 1)]
    assert len(unpack(tar(*members[:-1]), LIMIT)) == MAX_FILES
    with pytest.raises(BackendError, match=f"{MAX_FILES} files"):
        unpack(tar(*members), LIMIT)


@given(st.binary(max_size=5000))
def test_decompress(plain: bytes) -> None:
    assert decompress(gzip.compress(plain), 5000) == plain


def test_a_bomb_is_not_unfolded() -> None:
    bomb = gzip.compress(bytes(50_000_000))
    with pytest.raises(BackendError, match="more than 1000 bytes"):
        decompress(bomb, 1000)


@given(st.binary(max_size=200))
def test_decompressing_any_bytes(junk: bytes) -> None:
    with pytest.raises(BackendError, match="broken archive"):
        decompress(junk, 1000)


@given(st.integers(0, 10_000))
def test_decompressing_damage(at: int) -> None:
    packed = bytearray(gzip.compress(b"some text " * 30, mtime=0))
    packed[10 + at % (len(packed) - 10)] ^= 0x55
    with pytest.raises(BackendError, match="broken archive"):
        decompress(bytes(packed), 1000)
    with pytest.raises(BackendError, match="broken archive"):
        decompress(bytes(packed[: at % len(packed)]), 1000)
