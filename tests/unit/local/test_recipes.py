"""What the key of a built image depends on."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import pytest

from cooperbench.errors import SandboxStartError
from cooperbench.eval.backends import building
from cooperbench.eval.backends.base import Completed, Recipe


@pytest.fixture(name="recipe")
def _recipe(tmp_path: Path) -> Recipe:
    (tmp_path / "build.sh").write_text("true\n")
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "file").write_bytes(b"\0")
    (tmp_path / "link").symlink_to("sub")
    return Recipe("host", tmp_path, "build.sh")


def test_the_key_is_of_content(recipe: Recipe, tmp_path_factory: pytest.TempPathFactory) -> None:
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    (elsewhere / "sub").mkdir()
    (elsewhere / "link").symlink_to("sub")
    (elsewhere / "sub" / "file").write_bytes(b"\0")
    (elsewhere / "build.sh").write_text("true\n")
    assert building.key("sha256:1", recipe) == building.key("sha256:1", Recipe("host", elsewhere, "build.sh"))


def test_every_ingredient_matters(recipe: Recipe) -> None:
    keys = [building.key("sha256:1", recipe), building.key("sha256:2", recipe)]
    keys.append(building.key("sha256:1", Recipe("host", recipe.context, "other.sh")))
    keys.append(building.key("sha256:1", Recipe("host", recipe.context, "build.sh", "open")))
    for change in (
        lambda: (recipe.context / "sub" / "file").write_bytes(b"\1"),
        lambda: (recipe.context / "sub" / "file").chmod(0o755),
        lambda: (recipe.context / "sub" / "file").rename(recipe.context / "sub" / "renamed"),
        lambda: (recipe.context / "new").touch(),
        lambda: ((recipe.context / "link").unlink(), (recipe.context / "link").symlink_to("new")),
    ):
        change()
        keys.append(building.key("sha256:1", recipe))
    assert len(set(keys)) == len(keys)


def test_what_does_not_matter(recipe: Recipe) -> None:
    before = building.key("sha256:1", recipe)
    (recipe.context / "__pycache__").mkdir()
    (recipe.context / "__pycache__" / "x.pyc").touch()
    (recipe.context / "sub" / "file").chmod(0o600)
    assert building.key("sha256:1", recipe) == before


def test_the_context_as_a_tar(recipe: Recipe) -> None:
    with tarfile.open(fileobj=io.BytesIO(building.archive(recipe))) as tar:
        assert tar.getnames() == ["build.sh", "link", "sub/file"]
        assert tar.getmember("link").linkname == "sub"


def test_a_context_of_odd_things_is_refused(recipe: Recipe) -> None:
    import os

    os.mkfifo(recipe.context / "fifo")
    with pytest.raises(SandboxStartError, match="neither a file nor a link"):
        building.key("sha256:1", recipe)


def test_what_is_left_out_is_neither_sent_nor_a_reason_to_build(tmp_path: Path) -> None:
    (tmp_path / "feature1").mkdir()
    (tmp_path / "feature1" / "feature.patch").write_text("answer")
    (tmp_path / "combined.patch").write_text("answer")
    (tmp_path / "build.sh").write_text("true")
    (tmp_path / "repo" / "feature1").mkdir(parents=True)
    (tmp_path / "repo" / "feature1" / "code").write_text("mine")
    recipe = Recipe("host", tmp_path, "build.sh", without=("feature[0-9]*", "combined.patch"))
    before = building.key("sha256:1", recipe)
    (tmp_path / "feature1" / "feature.patch").write_text("another answer")
    assert building.key("sha256:1", recipe) == before
    (tmp_path / "repo" / "feature1" / "code").write_text("other")
    assert building.key("sha256:1", recipe) != before


@pytest.mark.parametrize(
    ("said", "told", "warned"),
    [(b"", "no output", False), (b"one\n", "one", False), (b"one\ntwo\n", "two", True)],
)
def test_what_a_failing_recipe_said_is_told_once(
    recipe: Recipe, caplog: pytest.LogCaptureFixture, said: bytes, told: str, warned: bool
) -> None:
    with pytest.raises(SandboxStartError, match=f"ended with exit code 3: {told}$"):
        building.complain("image", recipe, Completed(3, stderr=said))
    assert bool(caplog.records) == warned
