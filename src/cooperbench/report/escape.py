"""Text from outside made harmless to print: file names, logs, messages and errors can hold anything.

A terminal obeys control characters, so none reaches it: each becomes a visible escape. Rich's own markup
is not dealt with here: whoever prints with rich passes `rich.text.Text`, which has none.
"""

from __future__ import annotations

import re
from typing import Any

# C0 and C1 controls, DEL, line and paragraph separators, bidirectional overrides, other invisible format
# characters, lone surrogates (bytes of file names that are not UTF-8).
_UNSAFE = (
    "\x00-\x1f\x7f-\x9f\xad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb"
    "\ud800-\udfff\U000e0000-\U000e0fff"
)
_LINE = re.compile(f"[{_UNSAFE}]")
_BLOCK = re.compile(f"(?![\n\t])[{_UNSAFE}]")


def line(value: Any, limit: int | None = None) -> str:
    """One printable line; line breaks and tabs become escapes as well.

    Args:
        limit: cut to that many characters, the last being an ellipsis.
    """
    text = _LINE.sub(_visible, str(value))
    if limit is not None and len(text) > limit:
        return text[: limit - 1] + "…"
    return text


def block(value: Any) -> str:
    """Printable text of several lines; line breaks and tabs stay."""
    return _BLOCK.sub(_visible, str(value).replace("\r\n", "\n"))


def _visible(match: re.Match[str]) -> str:
    point = ord(match.group())
    short = {0x0A: "\\n", 0x0D: "\\r", 0x09: "\\t"}.get(point)
    if short:
        return short
    if point < 0x100:
        return f"\\x{point:02x}"
    return f"\\u{point:04x}" if point < 0x10000 else f"\\U{point:08x}"
