"""A file .env: read by the command line, and by nothing else."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from cooperbench.cli.dotenv import load_dotenv
from cooperbench.errors import UsageError

TEXT = """\
# keys
PLAIN=sk-1
export EXPORTED = two   # a note
QUOTED="three four # no note"
SINGLE='five'
EMPTY=
KNOWN=other
"""


def test_variables_are_taken_over_and_those_there_are_kept(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text(TEXT)
    environ = {"KNOWN": "first"}
    load_dotenv(tmp_path / ".env", environ)
    assert environ == {
        "KNOWN": "first",
        "PLAIN": "sk-1",
        "EXPORTED": "two",
        "QUOTED": "three four # no note",
        "SINGLE": "five",
        "EMPTY": "",
    }
    load_dotenv(tmp_path / "nowhere", environ)


@pytest.mark.parametrize("text", ["sk-secret", "1X=sk-secret", 'X="sk-secret'])
def test_what_is_no_assignment_is_told_without_what_it_holds(tmp_path: Path, text: str) -> None:
    (tmp_path / ".env").write_text(f"A=1\n{text}\n")
    with pytest.raises(UsageError, match="line 2 is not of the form") as told:
        load_dotenv(tmp_path / ".env", {})
    assert "secret" not in str(told.value)


def test_the_package_does_not_read_it(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("FROM_FILE=yes\n")
    code = (
        "import os, cooperbench, cooperbench.gateway, cooperbench.agents; print(os.environ.get('FROM_FILE'))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert done.stdout == "None\n"
