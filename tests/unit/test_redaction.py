"""Keys are taken out of what is written down."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cooperbench.redaction import redacted, redacted_json, remember, secrets

ENVIRONMENT = {
    "OPENAI_API_KEY": "sk-0123456789",
    "LONGER_TOKEN": "sk-0123456789-and-more",
    "AWS_SECRET_ACCESS_KEY": "wJalrXUtnFEMI",
    "SSH_AUTH_SOCK": "/run/user/0/agent",
    "GOOGLE_APPLICATION_CREDENTIALS": "~/key.json",
    "TOKENIZERS": "no",
    "HOME": "/root",
    "GIT_AUTHOR_NAME": "Somebody Else",
}


def test_secrets_are_known_by_their_names() -> None:
    assert set(secrets(ENVIRONMENT)) >= {"sk-0123456789", "sk-0123456789-and-more", "wJalrXUtnFEMI"}
    assert not set(secrets(ENVIRONMENT)) & {"/run/user/0/agent", "~/key.json", "/root", "Somebody Else", "no"}


def test_a_key_that_was_used_is_a_secret_whatever_its_variable_is_called() -> None:
    assert "plain-sight-42" not in secrets({})
    remember("plain-sight-42")
    assert "plain-sight-42" in secrets({})


def test_none_is_left_whole_or_in_half() -> None:
    hidden = secrets(ENVIRONMENT)
    value = {"a": ["x sk-0123456789-and-more y", 3, None], "sk-0123456789": ("wJalrXUtnFEMI",)}
    assert redacted(value, hidden) == {"a": ["x [redacted] y", 3, None], "[redacted]": ["[redacted]"]}


@given(
    secret=st.text(min_size=8, max_size=12),
    parts=st.lists(st.text(max_size=5), max_size=4),
    value=st.sampled_from([{"k": 1}, ["x", None], {"a": {"b": [True, 2.5]}}]),
)
def test_a_text_says_what_the_value_says(secret: str, parts: list[str], value: object) -> None:
    with pytest.MonkeyPatch.context() as patch:
        written = "".join(parts) + secret
        told = {"said": [written, value], secret: written}
        try:
            patch.setenv("SOME_API_KEY", secret)
        except (ValueError, UnicodeEncodeError):  # nothing an environment can hold
            return
        assert redacted_json(told, as_json) == as_json(redacted(told, secrets()))


def test_a_secret_that_json_escapes_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOME_API_KEY", 'k"ey\\with\nall')
    assert redacted_json({"a": 'is k"ey\\with\nall'}, as_json) == '{"a": "is [redacted]"}'
    monkeypatch.delenv("SOME_API_KEY")
    assert redacted_json(['k"ey\\with\nall'], as_json) == as_json(['k"ey\\with\nall'])


def as_json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)
