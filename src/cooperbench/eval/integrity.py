"""What in an agent's patch could forge a result, and what a named rule does about it: a pure reading of the patch.

A clean scan proves nothing and a finding proves nothing: findings say where a person should look. Files are judged by
`steering`, lines of code by `suspicions`. What belongs to the benchmark is taken out elsewhere (`patches`).
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

from cooperbench import patches
from cooperbench.errors import UsageError
from cooperbench.eval.steering import reasons
from cooperbench.eval.suspicions import suspicions
from cooperbench.patches import SYMLINK, FilePatch, is_test_file

RULES = ("report", "drop")
"""``report``: everything is kept. ``drop``: files that steer are taken out. Both report."""
STEERING = frozenset(("steering", "shadow", "git", "link", "outside", "tool", "compiled"))
"""Kinds of findings that are about a file as such; ``code`` is about a line of it."""

_PROSE = re.compile(r".*\.(?:md|rst|adoc|lock|po|svg|csv)", re.IGNORECASE | re.DOTALL)
_MOST = 200
_UNPRINTABLE = re.compile(r"[^ -~]+")


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that could steer a test run or the judge."""

    kind: str
    """``steering``, ``shadow``, ``git``, ``link``, ``outside``, ``tool``, ``compiled`` or ``code``."""
    agent: str
    path: str
    line: int | None
    """In the file after the patch; None when it is about the file."""
    detail: str


def scan(patch: bytes, *, agent: str) -> list[Finding]:
    """Everything suspicious in a patch, in its order; the first line of each kind in each file, and not without end."""
    return _scan(patches.parse(patch), agent)


def apply_rule(
    rule: str, patch: bytes, agent: str, protected: Collection[str] = ()
) -> tuple[bytes, tuple[Finding, ...]]:
    """Scan a patch and do what the rule says.

    Args:
        rule: one of `RULES`.
        patch: the agent's.
        agent: its name, for the findings.
        protected: paths never taken out (the gold patches' own).

    Returns:
        The patch that goes on to the judge, and the findings.

    Raises:
        UsageError: there is no rule of that name.
    """
    if rule not in RULES:
        raise UsageError(f"unknown integrity rule {rule!r}; there are {', '.join(RULES)}")
    sections = patches.parse(patch)
    findings = tuple(_scan(sections, agent))
    if rule == "report":
        return patch, findings
    steering = {reason.path for section in sections for reason in reasons(section)}.difference(protected)
    return patches.drop(patch, steering.__contains__)[0], findings


def unseen(merged: bytes, known: Collection[Finding], tests_patches: Sequence[bytes]) -> list[Finding]:
    """What the merged change holds and nobody found in the agents' patches.

    They are written by whoever they are; this is git's own account of what it made of them. Whatever is here had been
    written so that git and our reading of it disagreed, or comes of the merge.
    """
    seen = {(finding.kind, finding.path) for finding in known}
    found = [finding for finding in scan(merged, agent="") if (finding.kind, finding.path) not in seen]
    detail = "belongs to the benchmark, and is in the merged change all the same"
    smuggled = patches.keep_for_judging(merged, tests_patches).dropped
    return found + [Finding("smuggled", "", path, None, detail) for path in smuggled]


def _scan(sections: list[FilePatch], agent: str) -> list[Finding]:
    found: list[Finding] = []
    for section in sections:
        for finding in _findings(section, agent):
            if len(found) == _MOST:
                found.append(
                    Finding(
                        "code", agent, finding.path, None, f"more than {_MOST} findings; these are the first"
                    )
                )
                return found
            found.append(finding)
    return found


def _findings(section: FilePatch, agent: str) -> Iterator[Finding]:
    for reason in dict.fromkeys(reasons(section)):
        yield Finding(reason.kind, agent, reason.path, reason.line, reason.detail)
    if _is_code(section):
        yield from _code(section, agent)


def _is_code(section: FilePatch) -> bool:
    # Tests are the benchmark's: an agent's are not run.
    if not section.names or section.mode == SYMLINK or is_test_file(section.path):
        return False
    return not _PROSE.fullmatch(posixpath.basename(section.path))


def _code(section: FilePatch, agent: str) -> Iterator[Finding]:
    for line, what in suspicions(section):
        excerpt = _UNPRINTABLE.sub(" ", line.text[:200].decode("ascii", "replace")).strip()
        yield Finding("code", agent, section.path, line.number, f"{what}: {excerpt[:120]}")
