"""Archives in and out, as the forked child of PID 1 handles them."""

from __future__ import annotations

import io
import os
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cooperbench.eval.backends.local.inside import archives

steady = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=50)
names = st.text(
    st.characters(exclude_characters="/\0", exclude_categories=("Cs",)), min_size=1, max_size=20
).filter(lambda name: name not in (".", ".."))


@pytest.fixture(name="body")
def _body() -> Iterator[int]:
    descriptor = os.memfd_create("test")
    yield descriptor
    os.close(descriptor)


def fill(body: int, members: list[tuple[tarfile.TarInfo, bytes]], kind: int = tarfile.GNU_FORMAT) -> None:
    """An archive in the descriptor."""
    os.ftruncate(body, 0)
    os.lseek(body, 0, os.SEEK_SET)
    with os.fdopen(os.dup(body), "wb") as file, tarfile.open(fileobj=file, mode="w", format=kind) as tar:
        for member, content in members:
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))


def member(name: str, kind: bytes = tarfile.REGTYPE, link: str = "", mode: int = 0o644) -> tarfile.TarInfo:
    """One member."""
    made = tarfile.TarInfo(name)
    made.type, made.linkname, made.mode = kind, link, mode
    return made


@steady
@given(st.dictionaries(names, st.binary(max_size=2000), max_size=5))
def test_what_goes_in_comes_out(
    tmp_path_factory: pytest.TempPathFactory, body: int, files: dict[str, bytes]
) -> None:
    directory = tmp_path_factory.mktemp("files")
    fill(body, [(member(name), content) for name, content in files.items()])
    assert archives.unpack(body, str(directory)) == len(files)
    assert {path.name: path.read_bytes() for path in directory.iterdir()} == files
    os.ftruncate(body, 0)
    os.lseek(body, 0, os.SEEK_SET)
    archives.pack(str(directory), 20_000, body)
    os.lseek(body, 0, os.SEEK_SET)
    with os.fdopen(os.dup(body), "rb") as file, tarfile.open(fileobj=file) as tar:
        assert {found.name: tar.extractfile(found).read() for found in tar} == files  # type: ignore[union-attr]


@pytest.mark.parametrize("name", ["../out", "a/../../out", "a/.."])
def test_a_member_that_leaves_is_refused(tmp_path: Path, body: int, name: str) -> None:
    fill(body, [(member(name), b"x")])
    with pytest.raises(ValueError, match="leaves its directory"):
        archives.unpack(body, str(tmp_path / "in"))
    assert not (tmp_path / "out").exists()


def test_an_absolute_name_stays_below(tmp_path: Path, body: int) -> None:
    fill(body, [(member("/etc/passwd"), b"x")])
    archives.unpack(body, str(tmp_path))
    assert (tmp_path / "etc" / "passwd").read_bytes() == b"x"


def test_nothing_is_written_through_a_link(tmp_path: Path, body: int) -> None:
    victim = tmp_path / "victim"
    victim.write_bytes(b"safe")
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "file").symlink_to(victim)
    fill(
        body,
        [
            (member("file"), b"new"),
            (member("later", tarfile.SYMTYPE, str(victim)), b""),
            (member("later"), b"n"),
        ],
    )
    archives.unpack(body, str(tmp_path / "in"))
    assert victim.read_bytes() == b"safe"
    assert (tmp_path / "in" / "file").read_bytes() == b"new"
    assert not (tmp_path / "in" / "later").is_symlink()


def test_modes_links_and_closed_directories(tmp_path: Path, body: int) -> None:
    members = [
        (member("closed", tarfile.DIRTYPE, mode=0o555), b""),
        (member("closed/run", mode=0o4755), b"x"),
        (member("closed/hard", tarfile.LNKTYPE, "closed/run"), b""),
        (member("dangling", tarfile.SYMTYPE, "/no/where"), b""),
    ]
    fill(body, members)
    archives.unpack(body, str(tmp_path))
    assert (tmp_path / "closed").stat().st_mode & 0o7777 == 0o555
    assert (tmp_path / "closed" / "run").stat().st_mode & 0o7777 == 0o4755
    assert (tmp_path / "closed" / "hard").stat().st_ino == (tmp_path / "closed" / "run").stat().st_ino
    assert os.readlink(tmp_path / "dangling") == "/no/where"
    (tmp_path / "closed").chmod(0o755)


def test_devices_are_refused(tmp_path: Path, body: int) -> None:
    fill(body, [(member("sda", tarfile.BLKTYPE), b"")])
    with pytest.raises(ValueError, match="not a file"):
        archives.unpack(body, str(tmp_path))


def test_an_archive_cut_short_is_refused(tmp_path: Path, body: int) -> None:
    fill(body, [(member("file"), b"x" * 5000)])
    os.ftruncate(body, 2000)
    with pytest.raises((ValueError, tarfile.TarError)):
        archives.unpack(body, str(tmp_path))


def test_only_plain_files_are_packed(tmp_path: Path, body: int) -> None:
    (tmp_path / "file").write_bytes(b"x")
    (tmp_path / "directory").mkdir()
    (tmp_path / "link").symlink_to("/etc/passwd")
    os.mkfifo(tmp_path / "fifo")
    assert archives.pack(str(tmp_path), 100, body) == 1


def test_too_much_is_refused(tmp_path: Path, body: int) -> None:
    (tmp_path / "sparse").touch()
    os.truncate(tmp_path / "sparse", 1 << 40)
    with pytest.raises(ValueError, match="more than 1000 bytes"):
        archives.pack(str(tmp_path), 1000, body)


def test_a_copy_keeps_what_a_layer_is_made_of(tmp_path: Path) -> None:
    source, target = tmp_path / "memory", tmp_path / "disk"
    tree = source / "root.upper"
    tree.mkdir(parents=True)
    target.mkdir()
    (source / "root.work").mkdir()
    (tree / "file").write_bytes(b"x")
    (tree / "file").chmod(0o751)
    os.link(tree / "file", tree / "same")
    (tree / "link").symlink_to("nowhere")
    os.mkfifo(tree / "fifo")
    (tree / "opaque").mkdir()
    _mark(tree / "opaque", "user.overlay.opaque")
    descriptors = [os.open(path, os.O_RDONLY | os.O_DIRECTORY) for path in (source, target)]
    archives.export(*descriptors, "layer")
    for descriptor in descriptors:
        os.close(descriptor)
    copy = target / "layer" / "root.upper"
    assert sorted(path.name for path in copy.iterdir()) == ["file", "link", "opaque", "same"]
    assert (copy / "file").stat().st_mode & 0o7777 == 0o751
    assert (copy / "file").stat().st_ino == (copy / "same").stat().st_ino
    assert os.readlink(copy / "link") == "nowhere"
    assert os.listxattr(copy / "opaque") == os.listxattr(tree / "opaque")
    assert os.listdir(target / "layer") == ["root.upper"]


def _mark(path: Path, name: str) -> None:
    try:
        os.setxattr(path, name, b"y")
    except OSError:
        pytest.skip("this file system has no user attributes")
