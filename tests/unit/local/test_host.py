"""What is read of the host: its ids, its networks, and the part of it that sandboxes see."""

from __future__ import annotations

import io
import ipaddress
import tarfile
from pathlib import Path

import pytest

from cooperbench.eval.backends.local import hostimage, identity, network


def written(path: Path, text: str) -> Path:
    """A file of this text."""
    path.write_text(text)
    return path


# ---------------------------------------------------------------------------------------------- ids


@pytest.mark.parametrize(
    ("id_map", "expected"),
    [
        ("         0          0 4294967295\n", (524288, 65536)),
        ("0 100000 65536\n", (1, 65535)),
        ("0 1000 1\n1 100000 65536\n", (1, 65536)),
        ("0 1000 1\n", None),
        ("", None),
    ],
)
def test_a_free_range(tmp_path: Path, id_map: str, expected: tuple[int, int] | None) -> None:
    assert identity._free_range(written(tmp_path / "map", id_map)) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("54321:100000:65536\n", (100000, 65536)),
        ("54321:1:10\n54321:200000:65536\nother:3:99999999\n", (200000, 65536)),
        ("other:100000:65536\n", None),
        ("54321:x:65536\n54321:1\n\n54321:5:0\n", None),
    ],
)
def test_a_subordinate_range(tmp_path: Path, text: str, expected: tuple[int, int] | None) -> None:
    assert identity._subordinate(written(tmp_path / "subuid", text), 54321) == expected
    assert identity._subordinate(tmp_path / "absent", 54321) is None


def test_root_is_never_mapped_to_root() -> None:
    for candidate in identity.candidates(uid=0):
        assert candidate.ids is None or all(outside != 0 for _, outside, _ in candidate.ids.uids)


def test_ids_have_directories_of_their_own() -> None:
    (single,) = (one for one in identity.candidates(uid=54321) if one.rung == "user-single")
    assert single.ids is not None
    assert single.ids.directory == "user-single-54321"
    assert not single.ids.many


# ---------------------------------------------------------------------------------------------- networks

TRIE = """Main:
  +-- 0.0.0.0/0 3 0 5
     |-- 0.0.0.0
        /0 universe UNICAST
     +-- 203.0.113.0/24 2 0 2
        |-- 203.0.113.0
           /24 link UNICAST
        |-- 203.0.113.7
           /32 host LOCAL
     |-- 127.0.0.1
        /32 host LOCAL
"""
ROUTES = """Iface	Destination	Gateway 	Flags	RefCnt	Use	Metric	Mask		MTU	Window	IRTT
eth0	00000000	017100CB	0003	0	0	0	00000000	0	0	0
eth0	007100CB	00000000	0001	0	0	0	00FFFFFF	0	0	0
"""


def test_own_addresses_and_networks(tmp_path: Path) -> None:
    assert network._addresses(written(tmp_path / "trie", TRIE)) == ["203.0.113.7/32", "127.0.0.1/32"]
    assert network._attached(written(tmp_path / "route", ROUTES)) == ["203.0.113.0/24"]
    assert network._addresses(tmp_path / "absent") == []
    assert network._attached(tmp_path / "absent") == []


@pytest.mark.parametrize(
    "address", ["10.0.0.1", "169.254.169.254", "172.31.255.255", "192.168.0.1", "100.64.0.1", "224.0.0.251"]
)
def test_private_addresses_are_forbidden(address: str) -> None:
    networks = [ipaddress.ip_network(name) for name in network.forbidden()]
    assert any(ipaddress.ip_address(address) in one for one in networks)
    assert not any(ipaddress.ip_address("1.1.1.1") in one for one in networks)
    assert not any(ipaddress.ip_address("127.0.0.1") in one for one in networks)


# ---------------------------------------------------------------------------------------------- the image


def test_the_layer_is_the_same_every_time() -> None:
    assert hostimage.key() == hostimage.key()
    assert hostimage.layer_archive() == hostimage.layer_archive()


def test_the_layer_holds_nothing_private() -> None:
    with tarfile.open(fileobj=io.BytesIO(hostimage.layer_archive())) as tar:
        members = {member.name: member for member in tar}
        shadow = tar.extractfile("etc/shadow")
        assert shadow is not None
        assert all(line.split(b":")[1] in (b"*", b"!") for line in shadow.read().splitlines())
    for name, member in members.items():
        assert (member.uid, member.gid) == (0, 0)
        assert not name.startswith(
            ("root/", "home/", "tmp/", "var/lib/", "etc/ssh", "etc/ssl/private", "etc/sudoers")
        )
        if member.isreg() and name.startswith("etc/") and name not in hostimage._OWN_FILES:
            assert Path("/", name).stat().st_mode & 0o004, name
    assert "etc/gshadow" not in members
    assert "etc/machine-id" in members
    assert members["etc/machine-id"].size == 0


def test_a_tree_with_mounts_is_split() -> None:
    mounts = frozenset({"/", "/usr/lib/wsl/drivers"})
    places = {place.at: place.overlay for place in hostimage._split("/usr", mounts)}
    assert "usr" not in places
    assert places["usr/lib"] is False
    assert places["usr/bin"] is True
    assert [place.at for place in hostimage._split("/usr", frozenset({"/"}))] == ["usr"]
