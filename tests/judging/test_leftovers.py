"""What one run of tests, or a patch, could leave in the repository to steer the next."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.judging.project import BASE, GOLD, Judge, Project, lay_out


def at_import(first: str, second: str) -> dict[str, bytes]:
    """Feature 1 done, and these run when the first suite, then the second imports the module."""
    code = f"""
import os, subprocess
here = os.path.dirname(os.path.abspath(__file__))
if not os.path.exists("/tmp/first"):
    open("/tmp/first", "w").close()
{first}
else:
{second}
"""
    return {"sums.py": code.encode() + GOLD[1]["sums.py"]}


@pytest.mark.parametrize("bit", ["--assume-unchanged", "--skip-worktree"])
def test_no_bit_of_the_index_makes_git_look_away(judged: Judge, project: Project, bit: str) -> None:
    first = f"""    subprocess.run(["git", "-C", here, "update-index", "{bit}", "words.txt"], check=True)
    open(here + "/words.txt", "w").write("spoilt")"""
    second = f"""    assert open(here + "/words.txt", "rb").read() == {BASE["words.txt"]!r}"""
    verdict = judged({1: project.patch(at_import(first, second)), 2: project.gold(2)}).verdict
    assert verdict.passed, "\n".join(f"{r.reason}\n{r.test_output}" for r in verdict.results)


def test_attributes_of_a_patch_call_up_no_filter_of_the_images(
    tmp_path: Path, judged: Judge, project: Project
) -> None:
    """Git asks a filter what a file holds when dates say nothing: here of every file, before any test has run."""
    extra = """
git config filter.evil.clean 'sh -c "echo ran >>/tmp/filters; cat"'
git config filter.evil.smudge 'sh -c "echo ran >>/tmp/filters; cat"'
mkdir untracked; echo x >untracked/file
touch -d @1000000000 .git/index
"""
    dataset = lay_out(tmp_path / "dated", project, extra)
    unfiltered = """    assert not os.path.exists("/tmp/filters"), open("/tmp/filters").read()"""
    files = {**at_import(unfiltered, unfiltered), ".gitattributes": b"*.txt filter=evil\n"}
    verdict = judged({1: project.patch(files), 2: project.gold(2)}, dataset=dataset).verdict
    assert verdict.passed, "\n".join(f"{r.reason}\n{r.test_output}" for r in verdict.results)
