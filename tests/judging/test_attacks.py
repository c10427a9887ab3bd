"""Attacks on the judge from outside the test process: survivors, exhausted resources, patches with odd shapes.

What forges inside the test process is in `test_forged`. Here nothing may pass in silence, nothing the code under test
does may be taken for the infrastructure's failure (that would leave the denominator), and honest work passes.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from cooperbench.eval.judging import Judging
from tests.judging.project import BASE, GOLD, Judge, Project, lay_out

SURVIVOR = """
import os, shutil, subprocess
os.makedirs("/tmp/d", exist_ok=True)
open("/tmp/d/log", "w").write(
    "=" * 20 + " test " + "session starts " + "=" * 20 + "\\ncollected 1 item\\n\\nt.py::T::t PASSED\\n\\n"
    + "=" * 20 + " 1 " + "pass" + "ed in 0.01s " + "=" * 20 + "\\n"
)
open("/tmp/d/script", "w").write('''
cd /tmp/d
echo 0 >rc
echo fine >state
until [ -f /.c*/facts/done ]; do :; done
cd /.c*/facts
for name in log rc state; do mv /tmp/d/$name tests.1.$name; done
''')
program = NAME
shutil.copy("/bin/sh", program)
n = subprocess.DEVNULL
subprocess.Popen([program, "/tmp/d/script"], stdin=n, stdout=n, stderr=n)
"""


def code(text: str) -> dict[str, bytes]:
    return {"sums.py": text.encode() + BASE["sums.py"]}


@pytest.mark.parametrize("name", ["x) Z\ny", "\nState:\tZ\nPid:", "x) Z 1 1 1 1 1", "plain"], ids=ascii)
def test_no_name_of_a_process_saves_it(judged: Judge, project: Project, name: str) -> None:
    """It would rewrite the facts once the judge is done: a pass without any finding."""
    attack = SURVIVOR.replace("NAME", repr(f"/tmp/d/{name}"))
    verdict = judged(
        {1: project.patch(code(attack)), 2: project.gold(2)}, judging=Judging(timeout=20)
    ).verdict
    first = verdict.results[0]
    assert not first.passed, verdict
    assert first.tests_failed == 1, "what was read is not what the tests wrote"
    assert verdict.results[1].passed, verdict.results[1].reason


@pytest.mark.parametrize(
    "act",
    [
        "os.makedirs(home + '/hashes')",
        "os.makedirs(home + '/sizes')",
        "shutil.rmtree(home)",
        "shutil.rmtree('/workspace/repo')",
        "os.kill(-1, 9)",
        "open(home + '/in/tests.1', 'w').truncate(1 << 40)",
    ],
)
def test_what_the_tests_destroy_is_not_the_infrastructures_failure(
    judged: Judge, project: Project, act: str
) -> None:
    attack = f"\nimport glob, os, shutil\nhome = glob.glob('/.c*')[0]\ntry:\n    {act}\nexcept OSError:\n    pass\n"
    verdict = judged({1: project.patch(code(attack)), 2: project.gold(2)}, judging=Judging(timeout=8)).verdict
    assert not verdict.passed
    assert not verdict.results[0].passed


def test_what_the_image_has_untracked_is_not_in_the_way(
    judged: Judge, project: Project, tmp_path: Path
) -> None:
    """Build products and the like: an agent may replace one, or add a file beside them."""
    extra = "mkdir data\necho x >data/there\necho old >version.txt\n"
    dataset = lay_out(tmp_path / "untracked", project, extra)
    changed = {**GOLD[1], "data/new.txt": b"n\n", "version.txt": b"new\n"}
    verdict = judged({1: project.patch(changed), 2: project.gold(2)}, dataset=dataset).verdict
    assert verdict.passed, [result.test_output for result in verdict.results]
    assert verdict.integrity == ()
