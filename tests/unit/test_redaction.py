"""Keys are taken out of what is written down."""

from __future__ import annotations

from cooperbench.redaction import redacted, remember, secrets

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
