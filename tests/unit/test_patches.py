"""Reading unified diffs: no byte lost, no section invented, nothing that raises; git is asked where it can be."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cooperbench import patches
from cooperbench.patches import SYMLINK, FilePatch

EDIT = b"""\
diff --git a/src/x.py b/src/x.py
index 1111111..2222222 100644
--- a/src/x.py
+++ b/src/x.py
@@ -1,3 +1,4 @@ def f():
 one
+two
 three

"""
CREATED = b"""\
diff --git a/new.txt b/new.txt
new file mode 100755
index 0000000..2222222
--- /dev/null
+++ b/new.txt
@@ -0,0 +1 @@
+only
\\ No newline at end of file
"""
DELETED = b"""\
diff --git a/old.txt b/old.txt
deleted file mode 100644
index 2222222..0000000
--- a/old.txt
+++ /dev/null
@@ -1 +0,0 @@
-only
"""
RENAMED = b"""\
diff --git a/from here.py b/to there.py
similarity index 100%
rename from from here.py
rename to to there.py
"""
COPIED = b"""\
diff --git a/tests/test_a.py b/src/a.py
similarity index 100%
copy from tests/test_a.py
copy to src/a.py
"""
MODE_ONLY = b"""\
diff --git a/with blank b/with blank
old mode 100644
new mode 100755
"""
LINK = b"""\
diff --git a/link b/link
new file mode 120000
index 0000000..2222222
--- /dev/null
+++ b/link
@@ -0,0 +1 @@
+/etc/passwd
\\ No newline at end of file
"""
BINARY = b"""\
diff --git a/pic.png b/pic.png
index d9059ef0ed04ac14cbfcba4f2a6d3b5e1b0e8e2b..58b9b47cf6d8ed7ba4a0d4b9d8c0c2f7eaa5a7bd 100644
GIT binary patch
literal 4
Lc${NkU|;|M00aO5

literal 3
Kc${NkWMBXQ00IC2

"""
DIFFER = b"""\
diff --git a/pic.png b/pic.png
index d9059ef..58b9b47 100644
Binary files a/pic.png and b/pic.png differ
"""
QUOTED = b"""\
diff --git "a/caf\\303\\251 \\"x\\".py" "b/caf\\303\\251 \\"x\\".py"
index 1111111..2222222 100644
--- "a/caf\\303\\251 \\"x\\".py"
+++ "b/caf\\303\\251 \\"x\\".py"
@@ -1 +1 @@
-a
+b
"""
BLANKS = b"""\
diff --git a/my file.py b/my file.py
index 1111111..2222222 100644
--- a/my file.py\t
+++ b/my file.py\t
@@ -1 +1 @@
-a
+b
"""
TRADITIONAL = b"""\
--- old/src/y.py\t2020-01-01 00:00:00.000000000 +0000
+++ new/src/y.py\t2020-01-02 00:00:00.000000000 +0000
@@ -1 +1 @@
-a
+b
"""
NESTED = b"""\
diff --git a/fixture.txt b/fixture.txt
--- a/fixture.txt
+++ b/fixture.txt
@@ -1,3 +1,7 @@
 diff --git a/not/one.py b/not/one.py
--- a/not/two.py
+++ b/not/three.py
+@@ -1,3 +1,7 @@
+diff --git a/not/four.py b/not/four.py
+--- a/not/five.py
++++ b/not/six.py
 last
"""
EVERY = [
    EDIT,
    CREATED,
    DELETED,
    RENAMED,
    COPIED,
    MODE_ONLY,
    LINK,
    BINARY,
    DIFFER,
    QUOTED,
    BLANKS,
    TRADITIONAL,
]


def only(patch: bytes) -> FilePatch:
    (section,) = patches.parse(patch)
    return section


@pytest.mark.parametrize(
    ("patch", "old", "new", "names"),
    [
        (EDIT, "src/x.py", "src/x.py", ("src/x.py",)),
        (CREATED, None, "new.txt", ("new.txt",)),
        (DELETED, "old.txt", None, ("old.txt",)),
        (RENAMED, "from here.py", "to there.py", ("from here.py", "to there.py")),
        (COPIED, "tests/test_a.py", "src/a.py", ("src/a.py",)),
        (MODE_ONLY, "with blank", "with blank", ("with blank",)),
        (LINK, None, "link", ("link",)),
        (BINARY, "pic.png", "pic.png", ("pic.png",)),
        (DIFFER, "pic.png", "pic.png", ("pic.png",)),
        (QUOTED, 'café "x".py', 'café "x".py', ('café "x".py',)),
        (BLANKS, "my file.py", "my file.py", ("my file.py",)),
        (TRADITIONAL, "src/y.py", "src/y.py", ("src/y.py", "old/src/y.py", "new/src/y.py")),
        (b"--- x.py\n+++ x.py\n@@ -1 +1 @@\n-a\n+b\n", "x.py", "x.py", ("x.py",)),
        (EDIT.replace(b"\n", b"\r\n"), "src/x.py", "src/x.py", ("src/x.py",)),
        (b"diff --git a/a b/a b/a b/a\nnew file mode 100644\n", None, "a b/a", ("a b/a",)),
        (b"diff --git a/\xff b/\xff\nnew file mode 100644\n", None, "\\xff", ("\\xff",)),
    ],
)
def test_names_of_a_section(patch: bytes, old: str | None, new: str | None, names: tuple[str, ...]) -> None:
    section = only(patch)
    assert section.raw == patch
    assert (section.old, section.new) == (old, new)
    assert set(section.names) == set(names)


def test_sections_of_a_long_patch_and_their_preamble() -> None:
    preamble = b"From 1234 Mon Sep 17 00:00:00 2001\nSubject: a thing\n---\n src/x.py | 1 +\n\n"
    sections = patches.parse(preamble + b"".join(EVERY) + b"-- \n2.39.5\n")
    assert [s.raw for s in sections] == [preamble, *EVERY[:-1], EVERY[-1] + b"-- \n2.39.5\n"]
    assert sections[0].names == ()


def test_what_looks_like_a_header_inside_a_hunk_is_text() -> None:
    assert patches.touched(NESTED) == ("fixture.txt",)
    assert patches.touched(NESTED + EDIT) == ("fixture.txt", "src/x.py")


def test_modes_and_creation() -> None:
    assert only(LINK).mode == SYMLINK
    assert only(LINK).created
    assert only(MODE_ONLY).mode == 0o100755
    assert not only(EDIT).created


def test_added_lines_carry_their_number_in_the_new_file() -> None:
    assert [(line.number, line.text) for line in patches.added_lines(only(EDIT))] == [(2, b"two")]
    assert [(line.number, line.text) for line in patches.added_lines(only(LINK))] == [(1, b"/etc/passwd")]
    assert [line.number for line in patches.added_lines(only(NESTED))] == [2, 3, 4, 5, 6]


def test_a_hunk_cut_short_ends_at_the_next_header() -> None:
    cut = EDIT.removesuffix(b"\n")  # the blank context line at the end, as a careless strip() takes it
    assert patches.touched(cut + CREATED) == ("src/x.py", "new.txt")


def test_drop_takes_whole_sections_and_says_which() -> None:
    kept, dropped = patches.drop(
        b"".join(EVERY), lambda path: path == "from here.py" or path.endswith(".png")
    )
    assert kept == b"".join(p for p in EVERY if p not in (RENAMED, BINARY, DIFFER))
    assert dropped == ["from here.py", "to there.py", "pic.png"]


def test_drop_leaves_nothing_rather_than_text_without_a_diff() -> None:
    assert patches.drop(b"Subject: x\n\n" + CREATED, lambda _: True) == (b"", ["new.txt"])
    assert patches.drop(b"no diff at all\n", lambda _: True) == (b"no diff at all\n", [])


def test_counting() -> None:
    assert [patches.line_count(p) for p in (b"", b"a", b"a\n", b"a\nb")] == [0, 1, 1, 2]
    assert patches.is_empty(b" \n\n")
    assert not patches.is_empty(b"x")


# Which files are the benchmark's.

TESTS_PATCH = (
    b"diff --git a/src/odd/name.py b/src/odd/name.py\n--- a/src/odd/name.py\n+++ b/src/odd/name.py\n"
)


def created(path: str, mode: str = "100644") -> bytes:
    header = f"diff --git a/{path} b/{path}\nnew file mode {mode}\n--- /dev/null\n+++ b/{path}\n"
    return header.encode() + b"@@ -0,0 +1 @@\n+x\n"


def test_what_the_tests_patches_touch_is_dropped_with_what_would_displace_it() -> None:
    patch = created("src/odd/name.py") + created("src/odd", "120000") + created("src/odd/name.py/x") + EDIT
    filtered = patches.keep_for_judging(patch, [TESTS_PATCH])
    assert filtered.kept == EDIT
    assert filtered.dropped == ("src/odd/name.py", "src/odd", "src/odd/name.py/x")


def test_gold_paths_are_safe_from_their_name_but_not_from_the_tests_patches() -> None:
    patch = created("pkg/tests/model.py")
    assert patches.keep_for_judging(patch, []).kept == b""
    assert patches.keep_for_judging(patch, [], ["pkg/tests/model.py"]).kept == patch
    assert (
        patches.keep_for_judging(patch, [created("pkg/tests/model.py")], ["pkg/tests/model.py"]).kept == b""
    )


def test_a_rename_out_of_the_tests_is_dropped_and_a_copy_is_not() -> None:
    moved = COPIED.replace(b"copy ", b"rename ")
    assert patches.keep_for_judging(moved, []).dropped == ("tests/test_a.py", "src/a.py")
    assert patches.keep_for_judging(COPIED, []).kept == COPIED


@pytest.mark.parametrize(
    "path",
    [
        "conftest.py", "Tests/conftest.py", "src/pkg/conftest.py", "test_x.py", "pkg/test_x.py", "pkg/loader_test.py",
        "Tests/helper.py", "tests/data/x.json", "pkg/tests/__init__.py", "mux_test.go", "middleware/a_test.go",
        "latest_test.go", "testdata/golden.txt", "src/__tests__/useForm.tsx", "src/__tests__/useForm/a.test.tsx",
        "src/a.test.ts", "src/a.spec.mjs", "src/a.test-d.ts", "src/__snapshots__/a.snap", "tests/suite/str.typ",
        "tests/src/run.rs", "crates/x/tests/it.rs", "crates/x/test/it.rs", "test/a.js", "src/test/java/A.java",
        "app/FooTest.java", "lib/foo_spec.rb", "__mocks__/fs.js",
    ],
)  # fmt: skip
def test_test_files(path: str) -> None:
    assert patches.is_test_file(path)


@pytest.mark.parametrize(
    "path",
    [
        "src/jinja2/tests.py", "contests.py", "latest_test.py", "stats/t_test.py", "src/pytest_plugin.py", "testing.py",
        "src/click/testing.py", "attest.py", "protest/x.py", "latest/x.py", "src/test.ts", "contest.go", "tester.go",
        "src/foo/tests.rs", "crates/x/src/tests/mod.rs", "django/test/client.py", "pytest.ini", "spec.md", "inspec.ts",
        "src/testutil/a.go", "tests", "test", "src/contest.test/a.py", "package.json", "Test.java",
    ],
)  # fmt: skip
def test_sources(path: str) -> None:
    assert not patches.is_test_file(path)


# Any bytes at all.

LINES = st.sampled_from(
    [
        b"diff --git a/x b/x\n", b"diff --git a/tests/t.py b/tests/t.py\n", b"diff --git a/y b/z\n",
        b"--- a/x\n", b"+++ b/x\n", b"--- /dev/null\n", b"+++ b/tests/t.py\n", b"--- tests/t.py\n", b"+++ tests/t.py\n",
        b"@@ -1 +1 @@\n", b"@@ -0,0 +1,2 @@\n", b"@@ -1,2 +1,2 @@ f\n", b"@@ -1,9999999999999999999 +1 @@\n", b"@@ -\n",
        b"-a\n", b"+b\n", b" c\n", b"\n", b"\r\n", b"\\ No newline at end of file\n", b"+", b"rename from x\n",
        b"rename to tests/t.py\n", b"new file mode 100644\n", b"deleted file mode 100644\n", b"index 1..2 100644\n",
        b"old mode 100644\n", b"new mode 100755\n", b"GIT binary patch\n", b"literal 4\n", b"garbage\n",
        b'diff --git "a/\n',
    ]
)  # fmt: skip
WHOLE = st.sampled_from([*EVERY, NESTED])
DIFFS = st.one_of(st.lists(LINES, max_size=30), st.lists(WHOLE | LINES, max_size=8), st.lists(WHOLE)).map(
    b"".join
)


@given(st.one_of(st.binary(), DIFFS))
@settings(max_examples=500, deadline=None)
def test_any_bytes_are_split_without_losing_one(patch: bytes) -> None:
    sections = patches.parse(patch)
    assert b"".join(section.raw for section in sections) == patch
    assert all(section.raw for section in sections)
    for section in sections:
        assert all(line.number >= 0 for line in patches.hunk_lines(section))


@given(DIFFS)
@settings(max_examples=500, deadline=None)
def test_what_is_dropped_stays_dropped(patch: bytes) -> None:
    kept, dropped = patches.drop(patch, patches.is_test_file)
    assert not any(map(patches.is_test_file, patches.touched(kept)))
    assert bool(dropped) == any(map(patches.is_test_file, patches.touched(patch)))
    assert patches.drop(patch, lambda _: False) == (patch, [])


def numstat(patch: bytes, directory: Path) -> list[str] | None:
    """The paths git sees in a patch; None when it refuses it."""
    argv = ["git", "apply", "--numstat", "-z", "-"]
    seen = subprocess.run(argv, input=patch, capture_output=True, cwd=directory, check=False)
    fields = [entry.split(b"\t", 2)[2] for entry in seen.stdout.split(b"\0") if entry.count(b"\t") >= 2]
    return None if seen.returncode else [os.fsdecode(field) for field in fields if field]


@given(patch=DIFFS)
@settings(max_examples=150, deadline=None)
def test_git_never_sees_a_path_that_we_do_not(patch: bytes, tmp_path_factory: pytest.TempPathFactory) -> None:
    seen = numstat(patch, tmp_path_factory.getbasetemp())
    # With a header that says nothing of a deletion, git takes /dev/null for a file of the tree.
    assert set(seen or ()) <= {*patches.touched(patch), "dev/null"}


@pytest.mark.parametrize("patch", EVERY)
def test_git_reads_the_same_names(patch: bytes, tmp_path: Path) -> None:
    seen = numstat(patch, tmp_path)
    assert seen is None or set(seen) <= {*patches.touched(patch)}
    assert seen is not None or patch in (BINARY, DIFFER)


@pytest.mark.timeout(60)  # a square of these sizes takes hours
@pytest.mark.parametrize(
    ("head", "unit", "size"),
    [
        (
            b"diff --git a/x b/x\n--- a/x\n+++ b/x\n@@ -0,0 +1,999999999 @@\n",
            b"+some line of a file\n",
            10_000_000,
        ),
        (b"diff --git ", b" ", 10_000_000),
        (b"", b"\n", 10_000_000),
        (b"--- ", b"/", 10_000_000),
        (b"", b"diff --git a/x b/x\n", 2_000_000),
        (b"", b"diff --git " + b"a/" * 4000 + b" " * 4000 + b"b/" * 4000 + b"\n", 2_000_000),
        (b"", b"--- a\n+++ b\n@@ -", 2_000_000),
        (b"diff --git a/x b/x\n", b"--- " + b" 1" * 4000 + b"\n", 2_000_000),
        (b"", b"@@ -1 +1 @@\n", 2_000_000),
        (b'diff --git "', b'\\"', 2_000_000),
    ],
)
def test_time_grows_with_size_not_with_its_square(head: bytes, unit: bytes, size: int) -> None:
    patch = head + unit * (size // len(unit))
    kept, dropped = patches.drop(patch, patches.is_test_file)
    assert (kept, dropped) == (patch, [])
    assert sum(1 for section in patches.parse(patch) for _ in patches.added_lines(section)) >= 0
