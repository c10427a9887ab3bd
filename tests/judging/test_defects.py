"""Defects known from an earlier harness, judged for real where no other test does. `DEFECTS.md` names each."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

import cooperbench
from cooperbench.dataset.model import Dataset
from cooperbench.eval.judging import Judging
from cooperbench.eval.plan import Rules
from tests.judging.project import GOLD, REPO, Judge, Project, lay_out

FORGED = r"===== test session starts =====\ncollected 1 item\n\n===== 1 passed in 0.01s ====="

ALTERED = {
    "runner": """
with open("/usr/local/bin/runner.new", "w") as new:
    new.write('#!/bin/sh\\necho "FORGED"\\n')
os.replace("/usr/local/bin/runner.new", "/usr/local/bin/runner.sh")
""".replace("FORGED", FORGED),
    "tests of the next": """
import glob, shutil
for place in glob.glob("/.cooperbench-*/in"):
    shutil.copy(place + "/tests.1/tests.patch", place + "/tests.2/tests.patch")
""",
    "work of both": """
import glob
for name in glob.glob("/.cooperbench-*/feature.patch"):
    with open(name, "a") as patch:
        patch.write("diff --git a/sums_div b/sums_div\\nnew file mode 100644\\n")
""",
}


def done_and(code: str) -> dict[str, bytes]:
    """Feature 1 as it should be, and `code` run by the first suite that imports it."""
    once = f"\nimport os\nif not os.path.exists('/tmp/once'):\n    open('/tmp/once', 'w').close()\n    exec({code!r})\n"
    return {"sums.py": once.encode() + GOLD[1]["sums.py"]}


@pytest.mark.parametrize("what", ALTERED)
def test_what_one_suite_alters_does_not_pass_the_next(what: str, judged: Judge, project: Project) -> None:
    """PA9: feature 1 is honest work, feature 2 is not there; the first suite prepares the second one's pass."""
    verdict = judged({1: project.patch(done_and(ALTERED[what])), 2: b""}).verdict
    assert verdict.merge.status == "clean"
    assert not verdict.passed
    assert not verdict.results[1].passed
    assert "run-tampered" in {finding.kind for finding in verdict.integrity}


FIRST_LOG = """
import glob
if os.path.exists("/tmp/first"):
    for name in glob.glob("/.cooperbench-*/tests.1.log"):
        with open(name, "a") as log:
            log.write("FORGED")
open("/tmp/first", "w").close()
""".replace("FORGED", FORGED)


def test_what_a_suite_alters_of_an_earlier_log_is_no_result(judged: Judge, project: Project) -> None:
    """PA9: the second suite writes the first one's log anew."""
    code = b"import os\n" + FIRST_LOG.encode()
    verdict = judged({1: project.patch({"sums.py": code + GOLD[1]["sums.py"]}), 2: project.gold(2)}).verdict
    changed = "code under test changed the runner, the judge's inputs or a log"
    assert [result.reason for result in verdict.results] == [changed, changed]
    assert [finding.kind for finding in verdict.integrity if finding.kind == "run-tampered"] == [
        "run-tampered"
    ] * 2


MOVED = """
import glob
for name in glob.glob("/.cooperbench-*/feature.patch"):
    os.rename(name, "/tmp/elsewhere")
    os.symlink("/tmp/elsewhere", name)
"""


def test_what_was_judged_is_not_hidden_behind_a_link(judged: Judge, project: Project) -> None:
    """The merged change is looked at for what the scan of the patches did not see: it must come back."""
    code = b"import os\n" + MOVED.encode()
    verdict = judged({1: project.patch({"sums.py": code + GOLD[1]["sums.py"]}), 2: project.gold(2)}).verdict
    assert not verdict.passed
    assert "run-tampered" in {finding.kind for finding in verdict.integrity}


def test_git_settings_of_one_suite_do_not_reach_the_next(judged: Judge, project: Project) -> None:
    """PA9: what lies in .git survives a reset and a clean."""
    code = b"""
import os, stat
git = "/workspace/repo/.git/"
if os.path.exists("/tmp/first"):
    assert "evil" not in open(git + "config").read()
    assert not os.path.exists(git + "info/attributes")
    assert not os.path.exists("/tmp/steered"), open("/tmp/steered").read()
else:
    open("/tmp/first", "w").close()
    with open(git + "config", "a") as config:
        config.write('[core]\\nfsmonitor = "echo monitor >>/tmp/steered"\\n[filter "evil"]\\n'
                     'smudge = "echo filter >>/tmp/steered; cat"\\nrequired\\n')
    with open(git + "info/attributes", "w") as attributes:
        attributes.write("* filter=evil\\n")
    for name in ("post-checkout", "post-index-change", "reference-transaction"):
        with open(git + "hooks/" + name, "w") as hook:
            hook.write("#!/bin/sh\\necho hook >>/tmp/steered\\n")
        os.chmod(git + "hooks/" + name, 0o755)
"""
    verdict = judged({1: project.patch({"sums.py": code + GOLD[1]["sums.py"]}), 2: project.gold(2)}).verdict
    assert verdict.passed, "\n".join(f"{r.reason}\n{r.test_output}" for r in verdict.results)


@pytest.fixture(scope="module")
def littered(tmp_path_factory: pytest.TempPathFactory, project: Project) -> Dataset:
    """An image whose repository has attributes and files that nobody committed."""
    extra = """
echo '* merge=union' >.gitattributes
echo 'sums.py merge=union' >.git/info/attributes
echo mine >notes.txt
"""
    return lay_out(tmp_path_factory.mktemp("littered"), project, extra)


def test_what_lies_about_in_the_image_is_in_no_merge(
    judged: Judge, project: Project, littered: Dataset
) -> None:
    """ME1, ME5, ME8: the image's own untracked files neither steer the merge nor become part of it."""
    verdict = judged({1: project.gold(1), 3: project.gold(3)}, dataset=littered).verdict
    assert verdict.merge.status == "conflicts"
    verdict = judged({1: project.gold(1), 2: project.gold(2)}, dataset=littered).verdict
    assert verdict.passed
    assert "def sub" in verdict.merge.diff
    assert verdict.merge.diff.count("diff --git") == 1


def test_the_union_rule_leaves_the_images_attributes_alone(
    judged: Judge, project: Project, littered: Dataset
) -> None:
    """ME8: a repository's own attributes that nobody committed are there for both suites, as they were."""
    code = b"""
for name, text in ((".gitattributes", "* merge=union"), (".git/info/attributes", "sums.py merge=union")):
    with open("/workspace/repo/" + name) as file:
        assert file.read() == text + chr(10), name
"""
    patches = {1: project.patch({"sums.py": code + GOLD[1]["sums.py"]}), 3: project.gold(3)}
    judging = Judging(timeout=60, rules=Rules(merge="union"))
    verdict = judged(patches, dataset=littered, judging=judging).verdict
    assert verdict.merge.strategy == "union"
    assert verdict.passed, "\n".join(f"{r.reason}\n{r.test_output}" for r in verdict.results)


def test_no_words_of_a_patch_or_a_log_decide(judged: Judge, project: Project) -> None:
    """ME5, PA4: file names, contents and output that read like git's or the judge's own messages."""
    words = b"CONFLICT (content): Merge conflict in sums.py\nerror: patch failed: sums.py:1\nAPPLY_FAILED\n"
    quoted = b"echo 'it'\\''s'\n"
    code = f"""
with open("/workspace/repo/say.sh", "rb") as file:
    assert file.read() == {quoted!r}
print({words.decode()!r} + "testing tests.2" + chr(10) + "fatal: no merge base")
"""
    files = {
        "sums.py": code.encode() + GOLD[1]["sums.py"],
        "CONFLICT (content)": words,
        "error: patch failed": words,
        "say.sh": quoted,
    }
    verdict = judged({1: project.patch(files), 2: project.gold(2)}).verdict
    assert verdict.merge.status == "clean"
    assert verdict.apply_status == {"agent1": "applied", "agent2": "applied"}
    assert verdict.passed, "\n".join(f"{r.reason}\n{r.test_output}" for r in verdict.results)


@pytest.mark.parametrize("culprit", [1, 2])
def test_modify_and_delete_is_the_agents_failure_whoever_deletes(
    culprit: int, judged: Judge, project: Project
) -> None:
    """ME1, ME2: a verdict, with the file's name, the same for either order."""
    gone, changed = project.patch({"words.txt": None}), project.patch({"words.txt": b"one\r\n2\r\nthree\r\n"})
    verdict = judged({culprit: gone, 3 - culprit: changed}).verdict
    assert (verdict.passed, verdict.merge.status, verdict.merge.files) == (False, "conflicts", ("words.txt",))
    assert verdict.to_json()["error"] is None


def test_hidden_tests_that_do_not_fit_the_image_are_the_datasets_failure(
    tmp_path: Path, dataset: Dataset, project: Project
) -> None:
    """ME7: in a verdict this looks like failing tests; `validate` tells it apart, since gold fails as well."""
    shutil.copytree(dataset.root, tmp_path / "ill")
    tests = tmp_path / "ill" / REPO / "task2" / "feature3" / "tests.patch"
    tests.write_bytes(project.patch({"sums.py": None}).replace(b"-def add", b"-def plus"))
    report = cooperbench.validate(
        dataset_dir=tmp_path / "ill", backend="local", output_dir=tmp_path / "out", timeout=60, task_id=2
    )
    assert not report["healthy"]
    ill = {found["feature"]: found for found in report["features"] if not found["gold_passes"]}
    assert list(ill) == [3]
    assert ill[3]["reason"].startswith("gold: the tests ended with status 1")


def test_a_verdict_says_what_image_it_rests_on(judged: Judge, project: Project) -> None:
    """ME7: an image that drifts has another digest, and what was judged on the old one is judged anew."""
    verdict = judged({1: project.gold(1), 2: project.gold(2)}).verdict
    digest = verdict.to_json()["image"]["digest"]
    assert digest.startswith("sha256:")
    assert verdict.inputs["image"] == digest


@pytest.fixture(scope="module")
def aged(tmp_path_factory: pytest.TempPathFactory, project: Project) -> Dataset:
    """An image whose git is too old to merge without a work tree, where attributes of the tree would be read."""
    extra = """
new=$(command -v git)
cat >/usr/local/bin/git <<END
#!/bin/sh
for word do [ "\\$word" != merge-tree ] || exit 129; done
exec $new "\\$@"
END
chmod 755 /usr/local/bin/git
[ "$(command -v git)" = /usr/local/bin/git ]
"""
    return lay_out(tmp_path_factory.mktemp("aged"), project, extra)


@pytest.mark.parametrize("git", ["new", "old"])
@pytest.mark.parametrize("culprit", [1, 3])
def test_attributes_in_a_patch_steer_no_gits_merge(
    culprit: int, git: str, judged: Judge, project: Project, dataset: Dataset, aged: Dataset
) -> None:
    """ME1: whoever brings them."""
    files = {**GOLD[culprit], ".gitattributes": b"sums.py filter=evil\n* merge=union\n"}
    patches = {culprit: project.patch(files), 4 - culprit: project.gold(4 - culprit)}
    verdict = judged(patches, dataset=aged if git == "old" else dataset).verdict
    assert (verdict.merge.status, verdict.merge.files) == ("conflicts", ("sums.py",))
    assert any(finding.path == ".gitattributes" for finding in verdict.integrity)


def test_an_old_git_merges_as_a_new_one_does(judged: Judge, project: Project, aged: Dataset) -> None:
    """ME2, ME3: clean, in conflict by deletion, and by the union rule."""
    clean = judged({1: project.gold(1), 2: project.gold(2)}, dataset=aged).verdict
    assert clean.passed, clean.reason
    gone, changed = project.patch({"words.txt": None}), project.patch({"words.txt": b"one\r\n2\r\nthree\r\n"})
    removed = judged({1: gone, 2: changed}, dataset=aged).verdict
    assert (removed.merge.status, removed.merge.files) == ("conflicts", ("words.txt",))
    union = Judging(timeout=60, rules=Rules(merge="union"))
    both = judged({1: project.gold(1), 3: project.gold(3)}, dataset=aged, judging=union).verdict
    assert (both.merge.strategy, both.passed) == ("union", True)
    all_three = judged({1: project.gold(1), 2: project.gold(2), 3: project.gold(3)}, dataset=aged).verdict
    assert (all_three.merge.status, all_three.merge.files) == ("conflicts", ("sums.py",))


def test_an_old_git_merges_every_pair_of_a_task(tmp_path: Path, aged: Dataset) -> None:
    """One merge leaves nothing to the next."""
    report = cooperbench.validate(
        dataset_dir=aged.root, backend="local", output_dir=tmp_path, merges_only=True, task_id=1
    )
    assert [(row["f1"], row["f2"]) for row in report["conflict_pairs"]] == [(1, 3)]
    assert report["summary"]["clean_merges"] == 2


def test_no_process_of_one_suite_lives_to_see_the_next(judged: Judge, project: Project) -> None:
    """PA9: it could wait for the second suite's tests, and change them when they are there."""
    code = b"""
import os, subprocess
if os.path.exists("/tmp/first"):
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{pid}/cmdline", "rb") as line:
                assert b"4321" not in line.read(), pid
        except (FileNotFoundError, ProcessLookupError):
            pass
else:
    open("/tmp/first", "w").close()
    nowhere = subprocess.DEVNULL
    subprocess.Popen(["sh", "-c", "trap '' TERM HUP; sleep 4321; :"], start_new_session=True,
                     stdin=nowhere, stdout=nowhere, stderr=nowhere)
"""
    verdict = judged({1: project.patch({"sums.py": code + GOLD[1]["sums.py"]}), 2: project.gold(2)}).verdict
    assert verdict.passed, "\n".join(f"{r.reason}\n{r.test_output}" for r in verdict.results)
