"""What becomes of putting patches together: every status, and nothing that steers it."""

from __future__ import annotations

from cooperbench.eval.judging import Judging
from cooperbench.eval.plan import Rules
from tests.judging.project import BASE, DIV, GOLD, SUB, Judge, Project


def test_gold_of_both_passes(judged: Judge, project: Project) -> None:
    verdict = judged({1: project.gold(1), 2: project.gold(2)}).verdict
    assert verdict.passed, "\n".join(f"{r.reason}\n{r.test_output}" for r in verdict.results)
    assert verdict.merge.status == "clean"
    assert verdict.apply_status == {"agent1": "applied", "agent2": "applied"}
    assert [(r.feature_id, r.tests_passed, r.tests_failed, r.exit_code) for r in verdict.results] == [
        (1, 1, 0, 0),
        (2, 1, 0, 0),
    ]
    assert not verdict.integrity
    assert verdict.base is not None
    assert len(verdict.base) == 40


def test_conflict_is_a_fail_with_its_files(judged: Judge, project: Project) -> None:
    verdict = judged({1: project.gold(1), 3: project.gold(3)}).verdict
    assert not verdict.passed
    assert verdict.merge.status == "conflicts"
    assert verdict.merge.files == ("sums.py",)
    assert all(r.exit_code is None and "conflict in sums.py" in r.reason for r in verdict.results)


def test_union_rule_keeps_both_sides(judged: Judge, project: Project) -> None:
    judging = Judging(timeout=60, rules=Rules(merge="union"))
    verdict = judged({1: project.gold(1), 3: project.gold(3)}, judging=judging).verdict
    assert verdict.merge.strategy == "union"
    assert verdict.merge.status == "clean"
    clean = judged({1: project.gold(1), 2: project.gold(2)}, judging=judging).verdict
    assert clean.merge.strategy == "git"
    assert clean.passed


def test_modify_and_delete_is_a_conflict(judged: Judge, project: Project) -> None:
    both = {1: project.patch({"words.txt": None}), 2: project.patch({"words.txt": b"one\r\n2\r\nthree\r\n"})}
    for judging in (None, Judging(timeout=60, rules=Rules(merge="union"))):
        verdict = judged(both, judging=judging).verdict
        assert verdict.merge.status == "conflicts"
        assert not verdict.passed


def test_patch_that_does_not_apply(judged: Judge, project: Project) -> None:
    bad = project.gold(1).replace(b"return a + b", b"return b + a")
    judgement = judged({1: bad, 2: project.gold(2)})
    assert judgement.verdict.merge.status == "missing_input"
    assert judgement.verdict.apply_status == {"agent1": "failed", "agent2": "applied"}
    assert not judgement.verdict.passed
    assert b"sums.py" in judgement.logs["apply.agent1.log"]


def test_an_agent_that_wrote_nothing(judged: Judge, project: Project) -> None:
    verdict = judged({1: b"", 2: project.gold(2)}).verdict
    assert verdict.apply_status == {"agent1": "skipped", "agent2": "applied"}
    assert verdict.merge.status == "clean"
    assert [r.passed for r in verdict.results] == [False, True]


def test_nobody_wrote_anything_is_no_clean_merge(judged: Judge) -> None:
    verdict = judged({1: b"", 2: b""}).verdict
    assert verdict.merge.status == "empty"
    assert not any(r.passed for r in verdict.results)


def test_identical_patches(judged: Judge, project: Project) -> None:
    both = project.patch({"sums.py": GOLD[1]["sums.py"] + DIV})
    verdict = judged({1: both, 2: both}).verdict
    assert verdict.merge.status == "identical"
    assert verdict.passed


def test_three_agents(judged: Judge, project: Project) -> None:
    third = project.patch(
        {
            "sums.py": BASE["sums.py"].replace(
                b"    return a * b\n", b"    return a * b\n\n\ndef neg(a):\n    return -a\n"
            )
        }
    )
    verdict = judged({1: project.gold(1), 2: project.gold(2), 3: third}).verdict
    assert verdict.merge.status == "clean"
    assert [r.feature_id for r in verdict.results] == [1, 2, 3]
    assert verdict.passed
    assert (
        judged({1: project.gold(1), 2: project.gold(2), 3: project.gold(3)}).verdict.merge.status
        == "conflicts"
    )


def test_the_verdict_does_not_depend_on_the_order_given(judged: Judge, project: Project) -> None:
    one, three = project.gold(1), project.gold(3)
    a, b = judged({1: one, 3: three}).verdict, judged({3: three, 1: one}).verdict
    assert (a.merge, a.inputs, a.features) == (b.merge, b.inputs, b.features)


def test_bytes_survive(judged: Judge, project: Project) -> None:
    """CRLF, Latin-1, a binary file, no final newline, a name with blanks and quotes."""
    files = {
        **GOLD[1],
        "words.txt": b"one\r\nTWO\r\nthree\r\n",
        "latin.txt": b"th\xe9 caf\xe9",
        "pixels.bin": bytes(range(256)) * 8,
        'a "b" c.txt': b"x\n",
        "sum\xc3\xa9.txt".encode("latin-1").decode(): b"y\n",
    }
    judgement = judged({1: project.patch(files), 2: project.gold(2)})
    assert judgement.verdict.passed, judgement.verdict
    assert judgement.verdict.apply_status["agent1"] == "applied"


def test_a_patch_with_a_blank_last_context_line(judged: Judge) -> None:
    patch = b"""diff --git a/sums.py b/sums.py
--- a/sums.py
+++ b/sums.py
@@ -3,4 +3,8 @@

 def add(a, b):
     return a + b
+
+
+def sub(a, b):
+    return a - b
\x20
"""
    assert SUB.splitlines()[-1] in patch
    verdict = judged({0: patch}, features=(1,)).verdict
    assert verdict.passed, "\n".join(f"{r.reason}\n{r.test_output}" for r in verdict.results)


def test_solo(judged: Judge, project: Project) -> None:
    both = project.patch({"sums.py": GOLD[1]["sums.py"] + DIV})
    verdict = judged({0: both}, features=(1, 2)).verdict
    assert verdict.passed
    assert verdict.to_json()["merge"] is None
    assert not judged({0: project.gold(1)}, features=(1, 2)).verdict.passed


def test_each_patch_alone_tells_coding_from_cooperating(judged: Judge, project: Project) -> None:
    judging = Judging(timeout=60, independent=True)
    verdict = judged({1: project.gold(1), 3: project.gold(3)}, judging=judging).verdict
    assert not verdict.passed
    assert verdict.merge.status == "conflicts"
    assert [(r.feature_id, r.passed) for r in verdict.alone] == [(1, True), (3, True)]
    verdict = judged({1: b"", 2: project.gold(2)}, judging=judging).verdict
    assert [(r.feature_id, r.passed) for r in verdict.alone] == [(1, False), (2, True)]
