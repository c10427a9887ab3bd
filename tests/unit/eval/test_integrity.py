"""What a scan finds in a patch, and what the named rules do about it."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cooperbench import patches
from cooperbench.errors import UsageError
from cooperbench.eval import integrity
from cooperbench.eval.integrity import Finding, apply_rule, scan
from tests.unit.eval.diffs import created, edited, kinds


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("conftest.py", "steering"), ("Tests/conftest.py", "steering"), ("sitecustomize.py", "steering"),
        ("src/usercustomize.py", "steering"), ("src/x.pth", "steering"), ("pytest.ini", "steering"),
        (".pytest.toml", "steering"), ("tox.ini", "steering"), ("setup.py", "steering"), ("build.rs", "steering"),
        ("crates/x/build.rs", "steering"), (".cargo/config.toml", "steering"), ("jest.config.js", "steering"),
        ("scripts/jest/jest.config.cjs", "steering"), ("vitest.config.ts", "steering"), (".babelrc.js", "steering"),
        ("babel.config.json", "steering"), (".npmrc", "steering"), ("runner.sh", "steering"), ("go.work", "steering"),
        ("vendor/modules.txt", "steering"), ("src/setupTests.ts", "steering"),
        (".gitattributes", "git"), ("docs/.gitattributes", "git"), (".gitmodules", "git"),
        (".git/hooks/post-checkout", "git"),
        ("sub/.GIT/config", "git"), (".husky/pre-commit", "git"), (".githooks/pre-commit", "git"),
        ("pytest.py", "shadow"), ("src/pytest/__init__.py", "shadow"), ("lib/deep/_pytest/runner.py", "shadow"),
        ("unittest/__init__.py", "shadow"), ("src/unittest.py", "shadow"), ("json.py", "shadow"),
        ("pluggy.py", "shadow"),
        ("node_modules/jest/index.js", "shadow"), ("x.dist-info/entry_points.txt", "shadow"),
        ("git", "tool"), ("bin/python3", "tool"), ("tools/pytest", "tool"), ("bin/node", "tool"), ("go", "tool"),
        ("src/fast.so", "compiled"), ("lib/x.so.1", "compiled"), ("pkg/a.pyc", "compiled"),
        ("build/x.node", "compiled"),
        ("Makefile", "steering"), ("sub/justfile", "steering"), ("uv.toml", "steering"), (".python-version",
        "steering"),
        ("hatch_build.py", "steering"), ("noxfile.py", "steering"), ("jest-preset.json", "steering"),
        ("scripts/jest/setup.ts", "steering"), ("setup-jest.js", "steering"), ("bunfig.toml", "steering"),
        ("pnpm-workspace.yaml", "steering"), (".nvmrc", "steering"), ("scripts/test.sh", "steering"),
        ("vendor/github.com/stretchr/testify/assert/assertions.go", "shadow"), ("numpy/__init__.py", "shadow"),
        ("llama-core/unittest/__init__.py", "shadow"), ("packages/json.py", "shadow"), ("x.whl", "compiled"),
        ("../outside.py", "outside"), ("x/../../outside.py", "outside"),
    ],
)  # fmt: skip
def test_files_that_steer(path: str, kind: str) -> None:
    found = scan(created(path), agent="agent2")
    assert kind in {finding.kind for finding in found}
    assert {finding.agent for finding in found} == {"agent2"}
    assert {finding.kind for finding in found} <= integrity.STEERING
    assert apply_rule("report", created(path), "a") == (created(path), tuple(scan(created(path), agent="a")))
    assert apply_rule("drop", created(path), "a")[0] == b""
    assert apply_rule("drop", created(path), "a", protected=patches.touched(created(path)))[0] == created(
        path
    )


@pytest.mark.parametrize(
    "path",
    [
        "src/jinja2/tests.py", "src/click/core.py", "mux.go", "logging.go", "src/types/form.ts", "src/pkg/json.py",
        "src/pkg/logging/__init__.py", "go.mod", ".gitignore", "src/git.py", "docs/env.md", "setup.md",
        "src/PIL/_imaging.c", "crates/x/src/lib.rs", "gitattributes.py", "README.md", "legit/x.py", "nodes.py",
        "package-lock.json", "src/config.js", "digit/.gitkeep",
    ],
)  # fmt: skip
def test_ordinary_files_do_not(path: str) -> None:
    assert scan(created(path), agent="a") == []


def test_a_module_that_was_there_already_shadows_nothing() -> None:
    assert kinds(edited("src/types.py", "+x = 1")) == set()
    assert kinds(created("src/types.py")) == {"shadow"}


@pytest.mark.parametrize(
    "target", ["/etc/passwd", "../../x", "../..", "a/../../../x", "/", "../.git/config", "../.git"]
)
def test_links_that_lead_out_are_found_and_dropped(target: str) -> None:
    patch = created("src/link", target, mode="120000")
    assert kinds(patch) == {"link"}
    assert apply_rule("drop", patch + created("x.py"), "a")[0] == created("x.py")


@pytest.mark.parametrize(
    ("path", "target", "kind"),
    [
        ("impl.py", "notes.md", "link"), ("src/a.js", "../b.csv", "link"), ("a.py", "b", "link"),
        ("unittest", "fake", "shadow"), ("src/_pytest", "../fake", "shadow"), ("node_modules", "fake", "shadow"),
        (".cargo", "fake", "steering"), (".husky", "fake", "git"),
    ],
)  # fmt: skip
def test_links_that_put_something_elsewhere_in_place(path: str, target: str, kind: str) -> None:
    patch = created(path, target, mode="120000")
    assert kinds(patch) == {kind}
    assert apply_rule("drop", patch + created("x.py"), "a")[0] == created("x.py")


@pytest.mark.parametrize(
    "text", ["GIT binary patch\nliteral 3\nKcmZQzWMT#Y01f~L\n\n", "Binary files a/x b/x differ\n"]
)
def test_code_that_git_holds_for_binary_is_found(text: str) -> None:
    """node takes a zero byte in a comment, and the diff then shows no line of the file."""
    header = "diff --git a/{0} b/{0}\nnew file mode 100644\nindex 0000000..1111111\n"
    for path in ("src/x.js", "src/x.py", "a.TS", "run.sh"):
        assert kinds((header.format(path) + text).encode()) == {"compiled"}
    assert kinds((header.format("logo.png") + text).encode()) == set()
    gone = b"diff --git a/x.js b/x.js\ndeleted file mode 100644\nindex 1111111..0000000\n" + text.encode()
    assert kinds(gone) == set()


def test_other_links_are_fine_but_an_unreadable_one_is_not() -> None:
    assert kinds(created("src/link", "../x.py", mode="120000")) == set()
    unknown = b"diff --git a/l b/l\nnew file mode 120000\nBinary files /dev/null and b/l differ\n"
    assert kinds(unknown) == {"link"}


def test_a_submodule_is_found() -> None:
    assert kinds(created("dep", "Subproject commit 1234\n", mode="160000")) == {"git"}


@pytest.mark.parametrize(
    "patch",
    [
        edited("pyproject.toml", " [tool.pytest.ini_options]", '+addopts = "-p evil"'),
        edited(
            "pyproject.toml", " [tool.pytest.ini_options]", ' testpaths = ["tests"]', "+xfail_strict = false"
        ),
        edited("pyproject.toml", '+addopts = "-p evil"'),
        edited("pyproject.toml", "+[project.entry-points.pytest11]", '+x = "evil"'),
        edited("pyproject.toml", '-build-backend = "hatchling.build"', '+build-backend = "evil"'),
        edited("setup.cfg", "+[tool:pytest]", "+addopts = -p evil"),
        edited("package.json", '-    "test": "jest",', '+    "test": "true",'),
        edited("package.json", '+  "jest": {'),
        edited("package.json", '+    "postinstall": "node evil.js"'),
        edited("crates/x/Cargo.toml", "+[profile.test]", "+panic = 'abort'"),
        edited("Cargo.toml", " [[test]]", "+harness = false"),
        edited("Cargo.toml", "+[patch.crates-io]", "+serde = { path = 'evil' }"),
    ],
)
def test_settings_that_steer(patch: bytes) -> None:
    (finding,) = scan(patch, agent="a")
    assert finding.kind == "steering"
    assert finding.line is not None
    assert apply_rule("drop", patch, "a")[0] == b""


@pytest.mark.parametrize(
    "patch",
    [
        edited("pyproject.toml", " [project]", ' name = "x"', '+dependencies = ["rich"]'),
        edited(
            "pyproject.toml", " [tool.pytest.ini_options]", " a = 1", " [project]", '+dependencies = ["rich"]'
        ),
        edited("package.json", '   "dependencies": {', '+    "left-pad": "1",'),
        edited("Cargo.toml", " [dependencies]", '+serde = "1"'),
        edited("setup.cfg", "+[options]", "+install_requires = x"),
    ],
)
def test_other_settings_do_not(patch: bytes) -> None:
    assert scan(patch, agent="a") == []


def test_a_finding_names_place_and_first_line_once_and_is_printable() -> None:
    patch = edited("src/x.py", " a", "+os._exit(0)\x1b[2J\x07é", "+os._exit(1)")
    detail = "ends the process: os._exit(0) [2J"
    assert scan(patch, agent="agent1") == [Finding("code", "agent1", "src/x.py", 2, detail)]


def test_findings_are_not_without_end() -> None:
    found = scan(b"".join(created(f"{n}/conftest.py") for n in range(1000)), agent="a")
    assert len(found) == 201
    assert "more than 200" in found[-1].detail
    assert apply_rule("drop", b"".join(created(f"{n}/conftest.py") for n in range(1000)), "a")[0] == b""


def test_drop_keeps_the_rest_byte_for_byte() -> None:
    rest = created("src/x.py", "os._exit(0)\n") + edited("src/y.py", "+é\r")
    kept, found = apply_rule("drop", created("conftest.py") + rest + created(".gitattributes"), "a")
    assert kept == rest
    assert [finding.kind for finding in found] == ["steering", "code", "git"]


def test_an_unknown_rule_is_told_with_those_there_are() -> None:
    with pytest.raises(UsageError, match="unknown integrity rule 'keep'; there are report, drop"):
        apply_rule("keep", b"", "a")


PIECES = st.sampled_from(
    [
        created("conftest.py"),
        created("l", "/x", mode="120000"),
        edited("pyproject.toml", "+addopts = 1"),
        created("x.py"),
    ]
)
LINES = PIECES.flatmap(lambda piece: st.sampled_from(piece.splitlines(keepends=True)))


@given(st.one_of(st.binary(), st.lists(PIECES | LINES | st.binary(max_size=9), max_size=8).map(b"".join)))
@settings(max_examples=300, deadline=None)
def test_any_bytes_are_scanned_and_what_steers_is_gone_after_drop(patch: bytes) -> None:
    found = scan(patch, agent="a")
    assert all(finding.detail.isprintable() for finding in found)
    kept, told = apply_rule("drop", patch, "a")
    assert list(told) == found
    assert "conftest.py" not in patches.touched(kept)
    assert apply_rule("report", patch, "a") == (patch, told)


@pytest.mark.timeout(60)  # a square of these sizes takes hours
@pytest.mark.parametrize(
    "unit",
    [
        "+x = f(y)\n",
        "+" + "sys.modules[" * 800 + "\n",
        "+" + "compile( " * 1500 + "\n",
        "+" + " " * 5000 + "\n",
    ],
)
def test_time_grows_with_size_not_with_its_square(unit: str) -> None:
    head = b"diff --git a/x.py b/x.py\n--- a/x.py\n+++ b/x.py\n@@ -0,0 +1,99999999 @@\n"
    assert scan(head + unit.encode() * (5_000_000 // len(unit)), agent="a") == []
