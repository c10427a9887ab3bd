"""Keys are taken out of what is written down."""

from __future__ import annotations

from cooperbench.redaction import redacted, secrets

ENVIRONMENT = {
    "OPENAI_API_KEY": "sk-0123456789",
    "LONGER_TOKEN": "sk-0123456789-and-more",
    "AWS_SECRET_ACCESS_KEY": "wJalrXUtnFEMI",
    "SSH_AUTH_SOCK": "/run/user/0/agent",
    "GOOGLE_APPLICATION_CREDENTIALS": "~/key.json",
    "TOKENIZERS": "no",
    "HOME": "/root",
    "CUSTOM": "hidden-by-name",
}


def test_secrets_are_known_by_their_names() -> None:
    found = secrets(ENVIRONMENT, ["CUSTOM"])
    assert set(found) == {"sk-0123456789", "sk-0123456789-and-more", "wJalrXUtnFEMI", "hidden-by-name"}


def test_none_is_left_whole_or_in_half() -> None:
    hidden = secrets(ENVIRONMENT)
    value = {"a": ["x sk-0123456789-and-more y", 3, None], "sk-0123456789": ("wJalrXUtnFEMI",)}
    assert redacted(value, hidden) == {"a": ["x [redacted] y", 3, None], "[redacted]": ["[redacted]"]}
