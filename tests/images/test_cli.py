"""`cooperbench images`, as a person calls it."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from cooperbench.eval.backends.local import LocalBackend
from tests.docker.registry import Registry
from tests.images import making
from tests.images.making import files


def images(state: Path, *words: str, code: int = 0, stdin: bytes = b"") -> str:
    """What it prints; on standard error, if it fails."""
    done = subprocess.run(
        [sys.executable, "-m", "cooperbench.cli", "images", *words],
        input=stdin,
        capture_output=True,
        check=False,
        env={**os.environ, "COOPERBENCH_STATE_DIR": str(state)},
        timeout=120,
    )
    assert done.returncode == code, (done.stdout, done.stderr)
    return (done.stdout if code < 2 else done.stderr).decode()


def test_pulled_listed_inspected_removed(registry: Registry, tmp_path: Path) -> None:
    one, two = f"{registry.address}/one:1", f"{registry.address}/two:1"
    registry.add("two", b"another\n")
    said = images(tmp_path, "pull", "--backend", "local", one, two)
    assert f"{one}  {registry.plain}" in said
    listed = {
        image["names"][0]: image
        for image in json.loads(images(tmp_path, "list", "--json"))["images"]
        if image["names"]
    }
    assert listed.keys() == {one, two}
    assert listed[one]["digest"] == registry.plain
    assert one in images(tmp_path, "list")
    inspected = json.loads(images(tmp_path, "inspect", one))
    assert inspected["origin"] == one
    assert inspected["configuration"]["rootfs"]["diff_ids"] == [
        f"sha256:{layer}" for layer in inspected["layers"]
    ]
    assert one in images(tmp_path, "rm", one)
    assert "no image" in images(tmp_path, "inspect", one, code=2)
    assert "no image" in images(tmp_path, "rm", one, code=2)
    assert images(tmp_path, "prune", "--disk-budget", "1").count(two) == 1


def test_what_cannot_be_pulled_fails_alone(registry: Registry, tmp_path: Path) -> None:
    said = images(
        tmp_path, "pull", "--backend", "local", "127.0.0.1:1/a:1", f"{registry.address}/b:1", code=1
    )
    assert "FAILED  127.0.0.1:1/a:1" in said
    assert f"{registry.address}/b:1  {registry.plain}" in said
    assert "not a tar archive" in images(tmp_path, "import", "-", "x:1", stdin=b"x" * 2000, code=3)


def test_one_that_is_in_use_is_kept_and_told(registry: Registry, tmp_path: Path) -> None:
    used, other = f"{registry.address}/used:1", f"{registry.address}/other:1"
    registry.add("other", b"another\n")
    with contextlib.closing(LocalBackend(state_dir=tmp_path)) as backend:
        backend.prepare_image(used, None)
        (backend.engine().state.path / "layers" / "nobodys").mkdir()  # what a removal finds on its way
        images(tmp_path, "pull", "--backend", "local", other)
        said = images(tmp_path, "rm", used, other, code=1)
        assert f"KEPT  {used}: it is in use\n" in said
        assert f"local: image {other}\n" in said
        assert used in images(tmp_path, "list")
    assert f"local: image {used}\n" in images(tmp_path, "rm", used)


def test_imported_from_standard_input_and_another_name(tmp_path: Path) -> None:
    content = making.docker_save([files({"a": b"1"})], "saved:1")
    assert images(tmp_path, "import", "-", stdin=content).startswith("saved:1  sha256:")
    images(tmp_path, "import", "-", "other:1", stdin=content)
    (entry,) = [image for image in json.loads(images(tmp_path, "list", "--json"))["images"] if image["names"]]
    assert entry["names"] == ["other:1", "saved:1"]
    assert images(tmp_path, "rm", "other:1") == "local: name other:1\n"
    assert json.loads(images(tmp_path, "inspect", "saved:1"))["names"] == ["saved:1"]


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["import", "/no/such/file"], "No such file"),
        (["pull", "--backend", "local", "NOT A NAME"], "no image name"),
        (["pull", "--platform", "linux/amd64", "-s", "lite", "x:1"], "not both"),
        (["fly"], "invalid choice"),
    ],
)
def test_mistakes(tmp_path: Path, words: list[str], told: str) -> None:
    assert told in images(tmp_path, *words, code=2)
