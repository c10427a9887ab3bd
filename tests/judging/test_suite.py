"""Running the hidden tests: limits, leftovers, what belongs to the image, images that cannot be judged."""

from __future__ import annotations

import shlex
import subprocess
from pathlib import Path

import pytest

from cooperbench.dataset.model import Pair
from cooperbench.errors import JudgeError
from cooperbench.eval.backends import shell
from cooperbench.eval.backends.base import SandboxSpec
from cooperbench.eval.backends.local import LocalBackend
from cooperbench.eval.judging import Judging
from cooperbench.eval.plan import Rules, plan_trial
from tests.judging.project import GOLD, REPO, Judge, Project, lay_out

PROCESSES = 31
"""Of the judge of a pair that merges, its own shell and two runners included."""
MORE_OF_AN_OLD_GIT = 9
"""One older than 2.38, which merges in a work tree."""


def with_code(code: bytes) -> dict[str, bytes]:
    """Feature 1 done, and `code` run when the module is imported, where no other feature writes."""
    return {"sums.py": code + GOLD[1]["sums.py"]}


@pytest.mark.parametrize("task_id", [1, 2])
def test_both_frameworks(judged: Judge, project: Project, task_id: int) -> None:
    verdict = judged({1: project.gold(1), 2: project.gold(2)}, task_id=task_id).verdict
    assert verdict.passed, "\n".join(f"{r.reason}\n{r.test_output}" for r in verdict.results)
    assert verdict.results[0].framework == {1: "pytest", 2: "unittest"}[task_id]
    assert not judged({1: b"", 2: project.gold(2)}, task_id=task_id).verdict.passed


def test_a_hanging_test_is_a_fail_with_its_reason(judged: Judge, project: Project) -> None:
    patch = project.patch(
        with_code(
            b"\nimport subprocess, time\nprint('before')\nsubprocess.Popen(['sleep', '600'])\ntime.sleep(600)\n"
        )
    )
    judgement = judged({1: patch, 2: b""}, judging=Judging(timeout=2))
    assert not judgement.verdict.passed
    assert "did not end within 2 s" in judgement.verdict.results[0].reason
    assert judgement.verdict.results[0].seconds < 300  # of the 600 it would have taken


def test_daemons_of_one_suite_do_not_see_the_next(judged: Judge, project: Project) -> None:
    code = b"""
import os, subprocess, time
if os.path.exists("/tmp/alive"):  # the second suite: nobody of the first is at work any more
    before = os.path.getsize("/tmp/alive")
    time.sleep(0.3)
    assert os.path.getsize("/tmp/alive") == before, "a daemon of the first suite is alive"
subprocess.Popen(["sh", "-c", "trap '' TERM HUP; while :; do echo x >>/tmp/alive; sleep 0.05; done"],
                 start_new_session=True, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
"""
    verdict = judged({1: project.patch(with_code(code)), 2: project.gold(2)}).verdict
    assert verdict.passed, "\n".join(f"{r.reason}\n{r.test_output}" for r in verdict.results)


def test_huge_output_is_capped_and_judged(judged: Judge, project: Project) -> None:
    code = b"\nimport sys\nfor _ in range(3000):\n    sys.__stderr__.write('x' * 9999 + chr(10))\n"
    judgement = judged({1: project.patch(with_code(code)), 2: project.gold(2)}, task_id=2)
    log = judgement.logs["tests.f1.log"]
    assert len(log) < 5_000_000
    assert b"bytes left out here" in log
    assert judgement.verdict.passed, judgement.verdict.reason
    assert "log-cut" in [f.kind for f in judgement.verdict.integrity]


def test_what_a_suite_adds_is_gone_for_the_next_and_what_the_image_built_stays(
    tmp_path: Path, judged: Judge, project: Project
) -> None:
    extra = "mkdir build kept; echo product >build/artifact; echo mine >kept/note; echo u >untracked.txt\n"
    dataset = lay_out(tmp_path / "leftovers", project, extra)
    code = b"""
import os
for name in ("build/artifact", "kept/note", "untracked.txt"):
    assert os.path.exists(name), name
for name in ("left/over", "build2", "sums.tmp"):
    assert not os.path.exists(name), name
os.makedirs("left", exist_ok=True)
open("left/over", "w").close(); open("build2", "w").close(); open("sums.tmp", "w").close()
open("tests/test_add.py", "w").close()
"""
    verdict = judged({1: project.patch(with_code(code)), 2: project.gold(2)}, dataset=dataset).verdict
    assert verdict.passed, "\n".join(f"{r.reason}\n{r.test_output}" for r in verdict.results)


def test_what_the_image_built_stays_whatever_its_name(
    tmp_path: Path, judged: Judge, project: Project
) -> None:
    names = [
        "donnée",
        "sp ace ",
        'qu"ote',
        '-n"',
        "back\\slash",
        'both\\"',
        "st*r[x]?",
        "t\tab",
        "li\nne",
        "100%d",
        "!bang",
        "#no",
    ]
    extra = "".join(f"echo built >{shlex.quote(name)}\n" for name in [*names, *(f"tests/{n}" for n in names)])
    many = "for n in $(seq 3000); do : >tests/$n.object; done\n"
    dataset = lay_out(tmp_path / "names", project, extra + many)
    code = f"""
import os
for name in {names!r}:
    assert os.path.exists(name), name
    assert os.path.exists("tests/" + name), name
assert sum(name.endswith(".object") for name in os.listdir("tests")) == 3000
"""
    patches = {1: project.patch(with_code(code.encode())), 2: project.gold(2)}
    verdict = judged(patches, dataset=dataset).verdict
    assert verdict.passed, "\n".join(f"{r.reason}\n{r.test_output}" for r in verdict.results)


def test_alone_a_patch_finds_what_another_one_replaces(
    tmp_path: Path, judged: Judge, project: Project
) -> None:
    """The image has a file that git does not track, and one of the patches creates it."""
    dataset = lay_out(tmp_path / "replaced", project, "mkdir -p out\necho old >out/version.txt\n")
    created = {**GOLD[1], "out/version.txt": b"new\n", "mark": b"", "out/only": b"1\n"}
    reading = b"""
import os
assert open("out/version.txt").read() == ("new\\n" if os.path.exists("mark") else "old\\n")
assert os.path.exists("out/only") == os.path.exists("mark")
"""
    patches = {
        1: project.patch(created),
        2: project.patch({"sums.py": GOLD[2]["sums.py"] + reading}),
    }
    verdict = judged(patches, dataset=dataset, judging=Judging(independent=True)).verdict
    assert verdict.passed, "\n".join(f"{r.reason}\n{r.test_output}" for r in verdict.results)
    alone = verdict.alone
    assert [result.passed for result in alone] == [True, True], [result.test_output for result in alone]


def test_hooks_and_filters_of_the_repository_do_not_run(
    tmp_path: Path, judged: Judge, project: Project
) -> None:
    """As husky does: core.hooksPath points into the tree; here every hook, filter and alias would break the judge."""
    extra = """
mkdir .husky
for hook in pre-commit commit-msg post-checkout post-index-change reference-transaction pre-merge-commit; do
    printf '#!/bin/sh\\necho ran >>/tmp/hooks\\nexit 1\\n' >.husky/$hook
    chmod +x .husky/$hook
done
git config core.hooksPath .husky
git config filter.evil.clean 'sh -c "echo ran >>/tmp/hooks; false"'
git config filter.evil.required true
git config commit.gpgSign true
git config core.fsmonitor 'sh -c "echo ran >>/tmp/hooks"'
git config diff.external /bin/false
git config alias.apply '!false'
git config merge.evil.driver false
echo '.husky/' >>.git/info/exclude
# The index as old as the files: git does not trust what it noted of them, and compares contents, through filters.
touch -d @1700000000 *.txt *.py tests/*
git update-index --refresh
touch -d @1700000000 .git/index
"""
    dataset = lay_out(tmp_path / "husky", project, extra)
    code = b"\nimport os\nassert not os.path.exists('/tmp/hooks'), open('/tmp/hooks').read()\n"
    attributes = {".gitattributes": b"*.txt filter=evil\nsums.py merge=evil diff=evil\n"}
    patches = {1: project.patch({**with_code(code), **attributes}), 2: project.gold(2)}
    verdict = judged(patches, dataset=dataset).verdict
    assert verdict.merge.status == "clean"
    assert verdict.passed, "\n".join(f"{r.reason}\n{r.test_output}" for r in verdict.results)


def test_later_history_and_branches_of_the_image_do_not_matter(
    tmp_path: Path, judged: Judge, project: Project
) -> None:
    extra = """
git config user.name n; git config user.email n@localhost
git checkout -q -b later; echo answer >answer.txt; git add -A; git commit -qm later; git checkout -q --detach HEAD~1
git replace HEAD later || true
"""
    dataset = lay_out(tmp_path / "history", project, extra)
    verdict = judged({1: project.gold(1), 2: project.gold(2)}, dataset=dataset).verdict
    assert verdict.passed, "\n".join(f"{r.reason}\n{r.test_output}" for r in verdict.results)


@pytest.mark.parametrize(
    ("extra", "words"),
    [
        ("rm -rf .git", "no git repository"),
        ("rm -rf .git && git init -q .", "no git repository with a commit"),
        ("rm /usr/local/bin/runner.sh", "has no /usr/local/bin/runner.sh"),
    ],
)
def test_an_image_that_cannot_be_judged_is_an_error_and_no_verdict(
    tmp_path: Path, judged: Judge, project: Project, extra: str, words: str
) -> None:
    dataset = lay_out(tmp_path / "broken", project, extra + "\n", {1: "true"})
    with pytest.raises(JudgeError, match=words):
        judged({1: project.gold(1), 2: project.gold(2)}, dataset=dataset)


def test_no_test_ran_is_no_pass(tmp_path: Path, judged: Judge, project: Project) -> None:
    dataset = lay_out(
        tmp_path / "idle",
        project,
        "",
        {1: "echo all good", 2: "python3 -m unittest -v -k nothing $files || true"},
    )
    for task_id in (1, 2):
        verdict = judged({1: project.gold(1), 2: project.gold(2)}, task_id=task_id, dataset=dataset).verdict
        assert not verdict.passed
        assert "no summary" in verdict.results[0].reason or "no test ran" in verdict.results[0].reason


def test_tests_of_an_agent_do_not_collide_with_the_hidden_ones(judged: Judge, project: Project) -> None:
    """PA6: an agent that writes a test where the hidden one will be must not lose its trial for it."""
    own = {
        **GOLD[1],
        "tests/test_sub.py": b"def test_mine():\n    assert False\n",
        "tests/test_div.py": b"broken(",
    }
    verdict = judged({1: project.patch(own), 2: project.gold(2)}).verdict
    assert verdict.passed, "\n".join(f"{r.reason}\n{r.test_output}" for r in verdict.results)
    assert set(verdict.dropped["agent1"]) == {"tests/test_sub.py", "tests/test_div.py"}


def test_a_judgement_starts_few_processes(
    tmp_path: Path, backend: LocalBackend, judged: Judge, project: Project
) -> None:
    """They are what judging costs. Process ids are given in order, and this runner is one shell."""
    dataset = lay_out(tmp_path / "idle", project, "echo : >/usr/local/bin/runner.sh\n", {1: ":"})
    patches = {1: project.gold(1), 2: project.gold(2)}
    judged(patches, dataset=dataset)
    task = dataset.task(REPO, 1)
    plan = plan_trial(task, Pair(REPO, 1, (1, 2)), patches, "coop", Rules(), timeout=60)
    sandbox = backend.create(SandboxSpec(task.image))
    try:
        shell.put_files(sandbox, plan.job.files)
        before = int(sandbox.exec("sh", "-c", "echo $$").stdout_read())
        assert sandbox.run(plan.job.command).returncode == 0
        after = int(sandbox.exec("sh", "-c", "echo $$").stdout_read())
    finally:
        sandbox.terminate()
    usage = subprocess.run(["git", "merge-tree", "-h"], capture_output=True, check=False).stdout
    assert after - before - 1 <= PROCESSES + (0 if b"--write-tree" in usage else MORE_OF_AN_OLD_GIT)


def test_seconds_and_logs_are_kept(judged: Judge, project: Project) -> None:
    judgement = judged({1: project.gold(1), 2: project.gold(2)})
    assert set(judgement.logs) >= {"tests.f1.log", "tests.f2.log"}
    assert b"test_sub" in judgement.logs["tests.f1.log"]
    assert all(0 < r.seconds < 60 for r in judgement.verdict.results)
