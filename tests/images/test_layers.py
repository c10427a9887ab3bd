"""Layers: what archives mean, in every dialect, and what a hostile one cannot do."""

from __future__ import annotations

import gzip
import os
import subprocess
import tarfile
import threading
import zlib
from pathlib import Path

import pytest
import zstandard
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st

from cooperbench.errors import SandboxStartError
from cooperbench.eval.backends.local.engine import Engine
from cooperbench.eval.backends.local.store import layers, streams
from cooperbench.eval.backends.local.store.layers import Stream
from tests.images.making import digest, files, listing, member, pieces, tar, unpack

LINK, HARD, DIR, FIFO, CHR = (
    tarfile.SYMTYPE,
    tarfile.LNKTYPE,
    tarfile.DIRTYPE,
    tarfile.FIFOTYPE,
    tarfile.CHRTYPE,
)


# ---------------------------------------------------------------------------------------------- what archives mean


def test_owners_modes_links_times(engine: Engine) -> None:
    content = tar(
        [
            (member("./", DIR, mode=0o755), b""),
            (member("group", DIR, mode=0o2775, gid=50), b""),
            (member("group/inherits-nothing"), b"x"),
            (member("group/suid", mode=0o6755, uid=1000, gid=2000, mtime=981_173_106.25), b"program"),
            (member("group/same", HARD, linkname="group/suid"), b""),
            (member("link", LINK, linkname="/etc/passwd", uid=7, gid=8, mtime=5), b""),
            (member("fifo", FIFO, mode=0o600), b""),
            (member("closed", DIR, mode=0o000), b""),
            (member("closed/inside", mode=0o400), b"y"),
        ]
    )
    root, warnings = unpack(engine, content)
    found = listing(engine, root)
    many = engine.ids.many
    assert found["group"].mode == 0o2775
    assert found["group"].owner == ((0, 50) if many else (0, 0))
    assert found["group/inherits-nothing"].owner == (0, 0)
    assert found["group/suid"].owner == ((1000, 2000) if many else (0, 0))
    assert found["group/suid"].mode == 0o6755
    assert (root / "group/suid").stat().st_mtime == 981_173_106.25
    assert (root / "group/same").stat().st_ino == (root / "group/suid").stat().st_ino
    assert found["link"].content == "/etc/passwd"
    assert (root / "link").lstat().st_mtime == 5
    assert found["fifo"].kind == "?"
    assert found["closed/inside"].mode == 0o400
    assert warnings == []


def test_whiteouts_are_the_overlays(engine: Engine) -> None:
    content = files(
        {
            ".wh.gone": b"",
            "a/.wh.gone": b"",
            "a/.wh..wh..opq": b"",
            "a/new": b"1",
            "kept": b"2",
            ".wh.kept": b"",
            ".wh.dir": b"",
            "dir/child": b"3",
            "dir2/child": b"4",
            ".wh.dir2": b"",
            ".wh..wh.plnk": b"",
        }
    )
    root, _ = unpack(engine, content)
    found = listing(engine, root)
    assert {name for name, entry in found.items() if entry.kind == "c"} == {"gone", "a/gone"}
    assert all((root / name).lstat().st_rdev == 0 for name in ("gone", "a/gone"))
    assert found["kept"].kind == "f"
    for replaced in ("a", "dir", "dir2"):
        assert os.getxattr(root / replaced, "user.overlay.opaque") == b"y"
    assert not any(".wh." in name for name in found)


@pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_dialects(engine: Engine, form: int) -> None:
    long = "d" * 90 + "/" + "n" * 60
    members = [
        (member(long), b"x" * 700),
        (member("empty"), b""),
        (member("to", LINK, linkname="l" * 90), b""),
    ]
    if form != tarfile.USTAR_FORMAT:
        longest = "/".join(["e" * 200] * 4)
        members += [
            (member(longest, uid=60_000, mtime=1), b"y"),
            (member("far", LINK, linkname="f" * 300), b""),
            (member("\udce4\udcff", mtime=-5), b"not UTF-8"),
        ]
    root, _ = unpack(engine, tar(members, form))
    found = listing(engine, root)
    for info, content in members:
        if info.issym():
            assert found[info.name].content == info.linkname
        else:
            assert (root / info.name).read_bytes() == content
            assert (root / info.name).stat().st_mtime == info.mtime


@pytest.mark.parametrize("version", ["old", "0.0", "0.1", "1.0"])
def test_sparse_files(engine: Engine, tmp_path: Path, version: str) -> None:
    path = tmp_path / "sparse"
    with path.open("wb") as file:
        for number in range(40):
            file.seek(number * 1_000_000)
            file.write(b"piece %d" % number)
        file.truncate(50_000_000)
    form = ["--format=gnu"] if version == "old" else ["--format=posix", f"--sparse-version={version}"]
    archive = tmp_path / "archive"
    subprocess.run(["tar", "-C", tmp_path, "-S", *form, "-cf", archive, "sparse"], check=True)
    assert archive.stat().st_size < 1_000_000
    root, _ = unpack(engine, archive.read_bytes())
    assert (root / "sparse").read_bytes() == path.read_bytes()
    assert (root / "sparse").stat().st_blocks * 512 < 5_000_000


def test_long_runs_of_zeros_take_no_room(engine: Engine) -> None:
    body = b"a" + bytes(20_000_000) + b"b" + bytes(3_000_000)
    root, _ = unpack(engine, files({"holes": body}))
    assert (root / "holes").read_bytes() == body
    assert (root / "holes").stat().st_blocks * 512 < 5_000_000


def test_attributes(engine: Engine) -> None:
    made = member("file")
    capability = b"\x01\0\0\x02\0\x04\0\0\0\0\0\0\0\0\0\0\0\0\0\0"
    made.pax_headers = {
        "SCHILY.xattr.user.mine": "value",
        "SCHILY.xattr.security.capability": capability.decode("utf-8", "surrogateescape"),
        "SCHILY.xattr.user.overlay.redirect": "/etc",
        "SCHILY.xattr.user.overlay.metacopy": "",
        "SCHILY.xattr.trusted.overlay.redirect": "/etc",
    }
    root, _ = unpack(engine, tar([(made, b"x")]))
    names = set(os.listxattr(root / "file"))
    assert names == {"user.mine", "security.capability"}
    assert os.getxattr(root / "file", "user.mine") == b"value"


def test_owners_beyond_the_map_and_devices_are_told(engine: Engine) -> None:
    members = [
        (member("far", uid=1_000_000_000), b""),
        (member("same", uid=(1 << 32) - 1), b""),
        (member("sda", tarfile.BLKTYPE, devmajor=8), b""),
        (member("white", CHR), b""),
    ]
    root, warnings = unpack(engine, tar(members))
    assert listing(engine, root)["far"].owner == (0, 0)
    assert set(os.listdir(root)) == {"far", "same"}
    assert any("2 device files" in line for line in warnings)
    assert any("2 files have owners" in line for line in warnings) == engine.ids.many


def test_a_later_member_replaces_an_earlier_one(engine: Engine) -> None:
    members = [
        (member("a"), b"1"),
        (member("a", DIR), b""),
        (member("a/b"), b"2"),
        (member("a", LINK, linkname="b"), b""),
        (member("a"), b"3"),
    ]
    root, _ = unpack(engine, tar(members))
    assert os.listdir(root) == ["a"]
    assert (root / "a").read_bytes() == b"3"


# ---------------------------------------------------------------------------------------------- hostile


@pytest.mark.parametrize("name", ["../out", "a/../../out", "a/./../../out", "/../out", ".."])
def test_names_that_climb_are_refused(engine: Engine, name: str) -> None:
    with pytest.raises(SandboxStartError, match="leaves its directory"):
        unpack(engine, files({name: b"x"}))


@pytest.mark.parametrize("name", [".wh.", ".wh..", ".wh...", "a/.wh.."])
def test_whiteouts_of_nothing_are_refused(engine: Engine, name: str) -> None:
    with pytest.raises(SandboxStartError, match="a whiteout of nothing"):
        unpack(engine, files({name: b""}))


def test_absolute_names_and_links_stay_inside(engine: Engine, outside: Path) -> None:
    there = str(outside)
    content = tar(
        [
            (member(f"{outside.parent}", DIR, mode=0o700), b""),
            (member(there), b"taken"),
            (member("up", LINK, linkname="../" * 40 + there[1:]), b""),
            (member("up"), b"taken"),
            (member("tree", LINK, linkname=str(outside.parent)), b""),
            (member("tree/outside"), b"taken"),
            (member("root", LINK, linkname="/"), b""),
            (member(f"root{there}"), b"taken"),
            (member("proc", LINK, linkname="/proc/1/root"), b""),
        ]
    )
    root, _ = unpack(engine, content)
    assert outside.read_text() == "safe"
    assert outside.stat().st_mode & 0o777 == 0o644
    assert (root / there[1:]).read_text() == "taken"


@pytest.mark.parametrize("target", ["/etc/passwd", "../../../../../../etc/passwd", "nowhere"])
def test_hard_links_out_of_the_tree_fail(engine: Engine, target: str) -> None:
    before = os.stat("/etc/passwd").st_nlink
    with pytest.raises(SandboxStartError, match=r"No such file|leaves its directory"):
        unpack(engine, tar([(member("stolen", HARD, linkname=target), b"")]))
    assert os.stat("/etc/passwd").st_nlink == before


def test_a_very_deep_tree_is_made_and_removed(engine: Engine) -> None:
    deep = "/".join("d" * 1900)
    root, _ = unpack(engine, files({f"{deep}/file": b"x"}))
    engine.state.discard(f"layers/{root.name}")
    engine.launcher.ask("empty")
    assert not list((engine.state.path / "trash").iterdir())


@pytest.mark.parametrize(
    "content",
    [
        b"x" * 5000,
        files({"a": b"x" * 5000})[:2000],
        files({"a": b"x" * 5000})[:700],
        gzip.compress(files({"a": os.urandom(50_000)}))[:-3000],
        gzip.compress(b"")[:-1],
        zstandard.compress(files({"a": os.urandom(50_000)}))[:-3000] + b"x" * 3000,
    ],
    ids=["noise", "cut content", "cut header", "cut gzip", "cut end", "damaged zstd"],
)
def test_damage_is_an_error(engine: Engine, content: bytes) -> None:
    before = set(os.listdir(engine.state.path / "layers"))
    with pytest.raises(SandboxStartError):
        unpack(engine, content)
    assert set(os.listdir(engine.state.path / "layers")) == before


def test_a_layer_that_is_not_the_promised_one_is_refused(engine: Engine) -> None:
    content, other = files({"a": b"1"}), digest(b"other")
    with pytest.raises(SandboxStartError, match="not what its image promises"):
        engine.unpacker.bring(Stream(other, lambda: pieces(content), 1), "the layer")
    assert not (engine.state.path / "layers" / other[7:]).exists()
    assert not any(
        name.startswith("layer-") for name in os.listdir(engine.state.path / "run" / engine.state.owner)
    )


def test_a_bomb_is_refused(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(layers, "LARGEST", 50_000_000)
    head = files({"bomb": bytes(200_000_000)})
    bomb = gzip.compress(head, 1)
    assert len(bomb) < 1_000_000
    with pytest.raises(SandboxStartError, match="is larger than"):
        unpack(engine, bomb)


def test_a_full_disk_is_an_error_and_leaves_nothing(engine: Engine) -> None:
    from dataclasses import replace

    before = set(os.listdir(engine.state.path / "layers"))
    unpacker = replace(engine.unpacker, reserve=1 << 60)
    with pytest.raises(SandboxStartError, match="No space left"):
        unpacker.bring(Stream(None, lambda: pieces(files({"a": b"x"})), 1), "the layer")
    assert set(os.listdir(engine.state.path / "layers")) == before


@settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=40, database=None
)
@given(st.data())
def test_damaged_headers_end_in_an_error_or_a_layer(engine: Engine, data: st.DataObject) -> None:
    content = bytearray(tar([(member("a" * 120, uid=5), b"x" * 600), (member("b", LINK, linkname="a"), b"")]))
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    try:
        root, _ = unpack(engine, bytes(content))
    except SandboxStartError:
        event("refused")
    else:
        engine.state.discard(f"layers/{root.name}")


# ---------------------------------------------------------------------------------------------- streams


@settings(deadline=None, max_examples=60)
@given(st.lists(st.binary(max_size=3000), max_size=4), st.integers(1, 700))
def test_compression_is_undone(parts: list[bytes], size: int) -> None:
    whole = b"plain" + b"".join(parts)
    for packed in (
        whole,
        b"".join(gzip.compress(part, mtime=0) for part in (b"plain", *parts)),
        b"".join(zstandard.compress(part) for part in (b"plain", *parts)),
    ):
        assert b"".join(streams.expanded(pieces(packed, size))) == whole


def test_expansion_is_bounded_a_piece_at_a_time() -> None:
    for packed in (zlib.compress(bytes(100_000_000), wbits=31), zstandard.compress(bytes(100_000_000))):
        assert max(map(len, streams.expanded([packed]))) <= streams.PIECE


def test_two_at_once_unpack_once(engine: Engine) -> None:
    content = files({"once": os.urandom(3_000_000)})
    opened = []
    started = threading.Barrier(3)

    def bring() -> None:
        started.wait()
        engine.unpacker.bring(
            Stream(digest(content), lambda: (opened.append(1), pieces(content))[1], len(content)), "x"
        )

    threads = [threading.Thread(target=bring) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(opened) == 1
