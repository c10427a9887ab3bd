"""Nothing that a terminal would obey gets through."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cooperbench.report.escape import block, line

ANYTHING = st.text(st.characters(codec=None), max_size=60)


def obeyed(text: str) -> list[str]:
    """Characters that are not ink: controls, format characters, lone surrogates, line separators."""
    return [char for char in text if unicodedata.category(char) in ("Cc", "Cf", "Cs", "Zl", "Zp")]


@given(ANYTHING)
def test_a_line_holds_ink_only(text: str) -> None:
    told = line(text)
    assert len(told.splitlines()) <= 1
    told.encode("utf-8")
    assert not [c for c in obeyed(told) if c not in HARMLESS]


@given(ANYTHING)
def test_a_block_holds_ink_line_breaks_and_tabs(text: str) -> None:
    told = block(text)
    told.encode("utf-8")
    assert not [c for c in obeyed(told) if c not in HARMLESS and c not in "\n\t"]


HARMLESS = {chr(p) for p in range(0x110000) if unicodedata.category(chr(p)) == "Cf"} - set(
    "\xad\u061c\u180e\u200b\u200c\u200d\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2060\u2066\u2067\u2068\u2069\ufeff"
)
"""Format characters of scripts (Arabic number signs and the like), which reorder and hide nothing."""


@given(st.text(st.characters(categories=("L", "N", "P", "S")), max_size=60))
def test_ordinary_text_is_left_alone(text: str) -> None:
    assert line(text) == text


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("\x1b]0;title\x07", "\\x1b]0;title\\x07"),
        ("a\r\nb", "a\\r\\nb"),
        ("\x9b31m", "\\x9b31m"),
        ("evil\u202egpj.exe", "evil\\u202egpj.exe"),
        ("\udce9.py", "\\udce9.py"),
        (b"\x1b".decode(), "\\x1b"),
    ],
)
def test_what_is_hidden_becomes_visible(text: str, told: str) -> None:
    assert line(text) == told


def test_a_carriage_return_within_a_block_cannot_overwrite_a_line() -> None:
    assert block("FAILED\rpassed\r\nok") == "FAILED\\rpassed\nok"


def test_a_limit_cuts_the_escaped_text() -> None:
    assert line("\x1b" * 10, 8) == "\\x1b\\x1…"
