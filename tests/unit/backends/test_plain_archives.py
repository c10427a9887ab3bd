"""The quick way through an archive gives what `tarfile` gives, or leaves it to `tarfile`."""

from __future__ import annotations

import io
import tarfile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cooperbench.errors import BackendError
from cooperbench.eval.backends import archive

NAMES = st.sampled_from(["a", "b.log", "./c", "d/e", "x" * 90, "ü", ".", "..", "/abs", "f", "g/"])
KINDS = st.sampled_from(
    [tarfile.REGTYPE, tarfile.AREGTYPE, tarfile.DIRTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE]
)
FORMATS = st.sampled_from([tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])


@st.composite
def archives(draw: st.DrawFn) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w", format=draw(FORMATS)) as tar:
        for name, kind, content in draw(
            st.lists(st.tuples(NAMES, KINDS, st.binary(max_size=1100)), max_size=5)
        ):
            member = tarfile.TarInfo(name)
            member.type, member.linkname = kind, "a" if kind in (tarfile.SYMTYPE, tarfile.LNKTYPE) else ""
            member.size = len(content) if kind in (tarfile.REGTYPE, tarfile.AREGTYPE) else 0
            member.mtime = draw(st.sampled_from([0, 1.5]))
            tar.addfile(member, io.BytesIO(content))
    return stream.getvalue()


def slowly(packed: bytes, limit: int) -> dict[str, bytes] | None:
    try:
        with tarfile.open(fileobj=io.BytesIO(packed), mode="r:") as members:
            return archive._regular_files(members, limit)
    except (BackendError, *archive._BROKEN):
        return None


@given(packed=archives(), limit=st.sampled_from([0, 10, 2000, 10**6]))
def test_the_same_files(packed: bytes, limit: int) -> None:
    quickly = archive._plain_files(packed, limit)
    assert quickly is None or quickly == slowly(packed, limit)


@given(packed=archives(), at=st.integers(0, 4000), byte=st.integers(0, 255), cut=st.integers(0, 6000))
def test_damage_is_left_to_tarfile_or_changes_nothing(packed: bytes, at: int, byte: int, cut: int) -> None:
    damaged = bytearray(packed)
    damaged[at % len(damaged)] = byte
    for hostile in (bytes(damaged), packed[:cut], packed + b"x"):
        quickly = archive._plain_files(hostile, 10**6)
        assert quickly is None or quickly == slowly(hostile, 10**6)


def test_a_judges_archive_goes_the_quick_way() -> None:
    packed = archive.pack({"/base": b"0" * 40, "/tests.1.log": b"x" * 3000, "/done": b"yes\n"})
    assert archive._plain_files(packed, 10**6) == {
        "base": b"0" * 40,
        "tests.1.log": b"x" * 3000,
        "done": b"yes\n",
    }
    with pytest.raises(BackendError):
        archive.unpack(packed, 100)


PATHS = st.text(st.characters(codec="utf-8", exclude_characters="/\0"), min_size=1, max_size=120).filter(
    lambda name: name not in (".", "..")
)


@given(files=st.dictionaries(st.tuples(PATHS, PATHS).map("/".join), st.binary(max_size=1100), max_size=5))
def test_what_is_packed_is_what_tarfile_writes(files: dict[str, bytes]) -> None:
    packed = archive.pack({f"/{name}": content for name, content in files.items()})
    stream = io.BytesIO()
    with (
        tarfile.open(fileobj=io.BytesIO(packed)) as ours,
        tarfile.open(fileobj=stream, mode="w", format=tarfile.GNU_FORMAT) as theirs,
    ):
        for member in ours:
            plain = tarfile.TarInfo(member.name)
            plain.mode, plain.mtime, plain.size = member.mode, member.mtime, len(files[member.name])
            theirs.addfile(plain, io.BytesIO(files[member.name]))
    assert packed == stream.getvalue()
