"""Attacks on the judge from outside the test process: survivors, exhausted resources, patches with odd shapes.

What forges inside the test process is in `test_forged`. Here nothing may pass in silence, nothing the code under test
does may be taken for the infrastructure's failure (that would leave the denominator), and honest work passes.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from cooperbench.eval.judging import Judging
from tests.judging.project import AFTER_ADD, BASE, GOLD, Judge, Project, lay_out

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
        "os.makedirs(home + '/facts/sizes')",
        "os.mkfifo(home + '/facts/merge')",
        "os.rmdir(home + '/facts')",
        "os.remove(home + '/feature.patch'); os.makedirs(home + '/feature.patch')",
        "os.remove(home + '/tests.1.log'); os.makedirs(home + '/tests.1.log/x')",
        "shutil.rmtree(home)",
        "shutil.rmtree('/workspace/repo')",
        "os.kill(-1, 9)",
        "open(home + '/in/tests.1/tests.patch', 'w').truncate(1 << 40)",
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


HONEST = """

def sub(a, b):
    import os
    read = lambda name: open(name, "rb").read()
    assert read("sp ace/q\\"uote\\\\ \\u00e9\\t.txt") == b"x\\r\\ny"
    assert read("-dash") == b"" and read("words.txt") == b"one\\r\\nTWO\\r\\nthree\\r\\n"
    assert read("binary") == bytes(range(256)) * 50
    assert os.readlink("here") == "sums.py" and os.readlink("dangling") == "no such"
    assert not os.path.exists("latin.txt") and read("renamed.txt") == b"caf\\xe9\\n"
    assert read("big") == b"0123456789abcde\\n" * 30_000
    assert len(os.listdir("many")) == 300
    return a - b
"""


@pytest.mark.parametrize("mine", [1, 2], ids=["first", "second"])
def test_honest_work_of_every_shape_passes(judged: Judge, project: Project, mine: int) -> None:
    """In whatever order the patches are given."""
    odd: dict[str, bytes | None] = {
        'sp ace/q"uote\\ \u00e9\t.txt': b"x\r\ny",
        "-dash": b"",
        "words.txt": b"one\r\nTWO\r\nthree\r\n",
        "binary": bytes(range(256)) * 50,
        "latin.txt": None,
        "renamed.txt": BASE["latin.txt"],
        "big": b"0123456789abcde\n" * 30_000,
        **{f"many/{n}": b"%d\n" % n for n in range(300)},
        "sums.py": BASE["sums.py"].replace(AFTER_ADD, AFTER_ADD + HONEST.encode()),
    }
    patch = project.patch(odd, {"here": "sums.py", "dangling": "no such"})
    patch += b"diff --git a/.gitignore b/.gitignore\nold mode 100644\nnew mode 100755\n"
    given = {1: patch, 2: project.gold(2)}
    verdict = judged(given if mine == 1 else dict(reversed(given.items()))).verdict
    assert verdict.passed, [result.test_output[-800:] for result in verdict.results]
    assert verdict.integrity == ()
    assert not verdict.dropped


def test_what_git_reads_and_the_scan_does_not_is_found_in_the_merged_change(
    judged: Judge, project: Project
) -> None:
    """Here: line numbers with more digits than a reader takes."""
    zeros = b"0" * 30
    hidden = b"diff --git a/q.py b/q.py\nnew file mode 100644\n--- /dev/null\n+++ b/q.py\n"
    hidden += b"@@ -" + zeros + b",0 +" + zeros + b"1,2 @@\n+import os\n+os._exit(0)\n"
    verdict = judged({1: project.gold(1) + hidden, 2: project.gold(2)}).verdict
    assert [(finding.kind, finding.path) for finding in verdict.integrity] == [("code", "q.py")]


THREADS = """
#include <glob.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void *rewrite(void *unused) {
    glob_t found;
    char from[99], to[999], *facts, *names[] = {"log", "rc", "state"};
    while (glob("/.c*/facts/done", 0, 0, &found)) continue;
    facts = found.gl_pathv[0];
    facts[strlen(facts) - 4] = 0;
    for (int i = 0; i < 3; i++) {
        sprintf(from, "/tmp/d/%s", names[i]);
        sprintf(to, "%stests.1.%s", facts, names[i]);
        rename(from, to);
    }
    exit(0);
}

int main() {
    pthread_t thread;
    pthread_create(&thread, 0, rewrite, 0);
    pthread_exit(0);
}
"""


@pytest.mark.skipif(
    shutil.which("gcc") is None, reason="the sandbox has the host's compiler, and there is none"
)
def test_no_thread_outlives_its_process(judged: Judge, project: Project) -> None:
    """A process whose first thread has ended is shown as a zombie while its others run on."""
    attack = SURVIVOR.partition("program = NAME")[0].replace('open("/tmp/d/script"', 'open("/tmp/d/unused"')
    attack += f"""
open("/tmp/d/a.c", "w").write({THREADS!r})
open("/tmp/d/rc", "w").write("0")
open("/tmp/d/state", "w").write("fine")
subprocess.run(["gcc", "-w", "-o", "/tmp/d/a", "/tmp/d/a.c", "-lpthread"], check=True)
n = subprocess.DEVNULL
subprocess.Popen(["/tmp/d/a"], stdin=n, stdout=n, stderr=n)
"""
    verdict = judged(
        {1: project.patch(code(attack)), 2: project.gold(2)}, judging=Judging(timeout=20)
    ).verdict
    assert not verdict.results[0].passed, verdict
    assert verdict.results[0].tests_failed == 1, verdict.results[0].test_output
