"""Every Python block of the pages on backends runs as it is written, in order, as one program.

A block after ``<!-- raises: TEXT -->`` must end in an error of ours whose message begins with TEXT.
"""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from cooperbench.errors import CooperBenchError

DOCS = Path(__file__).parents[2] / "docs"
PAGES = ["backends.md", "custom-backends.md"]
BLOCK = re.compile(
    r"(?:^<!-- raises: (?P<raises>[^\n]*) -->\n)?^```(?P<kind>\w+)\n(?P<code>.*?)^```$", re.M | re.S
)


@dataclass(frozen=True)
class Snippet:
    """A block of a page; `line` is where its code begins."""

    kind: str
    code: str
    line: int
    raises: str | None


def snippets(page: str) -> list[Snippet]:
    text = (DOCS / page).read_text("utf-8")
    return [
        Snippet(found["kind"], found["code"], text[: found.start("code")].count("\n"), found["raises"])
        for found in BLOCK.finditer(text)
    ]


@pytest.mark.parametrize("page", PAGES)
@pytest.mark.usefixtures("project")
def test_python_of_a_page_runs(page: str) -> None:
    blocks = [each for each in snippets(page) if each.kind == "python"]
    assert len(blocks) >= 5
    program: dict[str, Any] = {"__name__": "documentation"}
    for block in blocks:
        # Blank lines in front, so that a traceback names the line of the page.
        code = compile("\n" * block.line + block.code, str(DOCS / page), "exec", dont_inherit=True)
        if block.raises is None:
            exec(code, program)
            continue
        with pytest.raises(CooperBenchError) as caught:
            exec(code, program)
        assert str(caught.value).startswith(block.raises)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("page", PAGES)
def test_settings_of_a_page_are_toml(page: str) -> None:
    blocks = [each for each in snippets(page) if each.kind == "toml"]
    assert blocks
    for block in blocks:
        tomllib.loads(block.code)


@pytest.mark.parametrize("page", PAGES)
def test_no_block_is_overlooked(page: str) -> None:
    fences = re.findall(r"^```", (DOCS / page).read_text("utf-8"), re.M)
    assert len(fences) == 2 * len(snippets(page))


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page: str) -> None:
    for target in re.findall(r"\]\(([^)#]+?)\)", (DOCS / page).read_text("utf-8")):
        if "://" not in target:
            assert (DOCS / target).exists(), target
