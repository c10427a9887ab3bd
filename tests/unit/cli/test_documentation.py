"""docs/cli.md and the README tell of what there is, all of it and nothing else."""

from __future__ import annotations

import argparse
import re
from pathlib import Path

import pytest

from cooperbench import settings
from cooperbench.cli import exits, program

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs" / "cli.md").read_text()


def flags_of(verb: str) -> set[str]:
    parser = program._parser(verb)
    (subparsers,) = (action for action in parser._actions if action.choices)
    return options_of(subparsers.choices[verb]) - {"-h", "--help"}


def options_of(parser: argparse.ArgumentParser) -> set[str]:
    """A verb's flags, those of what may follow it too."""
    own = {option for action in parser._actions for option in action.option_strings}
    below = (
        each
        for action in parser._actions
        if isinstance(action.choices, dict)
        for each in action.choices.values()
    )
    return own.union(*map(options_of, below))


EVERY = {verb: flags_of(verb) for verb in program.VERBS}
SHORT_FOR = {"--logs-dir"}
"""Second spellings, not worth a line."""


@pytest.mark.parametrize("verb", program.VERBS)
def test_the_page_names_every_verb_and_flag(verb: str) -> None:
    assert f"`{verb}" in PAGE
    assert not [flag for flag in EVERY[verb] - SHORT_FOR if not re.search(rf"{flag}[`\s]", PAGE)]


def test_the_page_names_no_flag_that_does_not_exist() -> None:
    known = set().union(*EVERY.values()) | {"--help", "--from"}
    assert not set(re.findall(r"(?<![\w-])--[a-z][a-z-]*", PAGE)) - known


def test_the_page_has_every_exit_code() -> None:
    codes = [value for name, value in vars(exits).items() if name.isupper() and isinstance(value, int)]
    assert [int(code) for code in re.findall(r"^\| (\d+) \|", PAGE, re.M)] == sorted(codes)


def test_the_page_has_every_setting() -> None:
    for key in settings.KEYS:
        assert f"| `{key}` | `COOPERBENCH_{key.upper()}` |" in PAGE


@pytest.mark.parametrize(
    "page", sorted(ROOT.glob("*.md")) + sorted((ROOT / "docs").rglob("*.md")), ids=lambda page: page.name
)
def test_every_verb_and_flag_in_a_shown_command_exists(page: Path) -> None:
    for command in re.findall(r"^(?: {4}|\$ )?cooperbench ([^\n#`]+)", page.read_text(), re.M):
        words = command.split()
        assert words[0] in program.VERBS or words[0].startswith("--"), command
        if words[0] in program.VERBS:
            used = {word.partition("=")[0] for word in words if re.match(r"--?[a-z]", word)}
            assert used <= EVERY[words[0]] | {"--help"}, command


@pytest.mark.parametrize(
    "page", sorted(ROOT.glob("*.md")) + sorted((ROOT / "docs").rglob("*.md")), ids=lambda page: page.name
)
def test_every_link_leads_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text()):
        assert (page.parent / target).exists(), target
