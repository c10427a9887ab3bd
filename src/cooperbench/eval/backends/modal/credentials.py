"""Whether this machine has credentials for Modal: looked for where the client library will, without loading it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

REMEDY = "run `modal token new`, or set MODAL_TOKEN_ID and MODAL_TOKEN_SECRET"

_PAIRS = (("token_id", "token_secret"), ("oauth_refresh_token", "oauth_client_id"))
"""What is needed together."""


def found() -> str | None:
    """Where they are, in a few words; None: there are none."""
    for pair in _PAIRS:
        if all(os.environ.get(f"MODAL_{name.upper()}") for name in pair):
            return f"MODAL_{pair[0].upper()} is set"
    path = Path(os.environ.get("MODAL_CONFIG_PATH") or "~/.modal.toml").expanduser()
    profile = _profile(_read(path))
    if any(all(profile.get(name) for name in pair) for pair in _PAIRS):
        return f"{path} has credentials for Modal"
    return None


def _read(path: Path) -> dict[str, Any]:
    import tomllib

    try:
        return tomllib.loads(path.read_text("utf-8"))
    except (OSError, ValueError):  # not there, or not TOML: the library says so when it is asked
        return {}


def _profile(content: dict[str, Any]) -> dict[str, Any]:
    """The section the library takes: the one named, the active one, or `default`."""
    sections = {name: section for name, section in content.items() if isinstance(section, dict)}
    active = [name for name, section in sections.items() if section.get("active")]
    return sections.get(os.environ.get("MODAL_PROFILE") or (active or ["default"])[0], {})
