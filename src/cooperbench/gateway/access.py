"""Which model a run uses and how it is reached: what the user said, made into a place calls go to."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol
from urllib.parse import urlsplit

from cooperbench.errors import UsageError
from cooperbench.gateway.calls import Call, Dialect, Reply
from cooperbench.redaction import remember

OPENAI: tuple[Dialect, ...] = ("chat",)


class Source(Protocol):
    """Where answers come from."""

    @property
    def dialects(self) -> tuple[Dialect, ...]:
        """The protocols it answers."""
        ...

    @property
    def model(self) -> str:
        """The model's name there."""
        ...

    def answer(self, call: Call) -> Reply:
        """The reply to one call; it may be a refusal of the provider's.

        Raises:
            CallError: there is none.
        """
        ...


@dataclass(frozen=True, slots=True)
class ModelAccess:
    """What the user said about the model, keys excepted: those are never in here.

    Raises:
        UsageError: a base URL that is none, or a name of no environment variable.
    """

    name: str
    """As litellm writes names: ``provider/model``."""
    base_url: str | None = None
    """A server of the user's own choice, with or without the closing ``/v1``."""
    api_key_env: str | None = None
    """The environment variable that holds the key; None for the provider's usual one."""
    prices: Path | None = None

    def __post_init__(self) -> None:
        if self.base_url is not None:
            try:
                parts = urlsplit(self.base_url)
                sound = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
            except ValueError:  # half an IPv6 address, a port that is none
                sound = False
            if not sound:
                raise UsageError(
                    f"--base-url {self.base_url!r} is not of the form http(s)://host[:port][/path]"
                )
            if parts.username or parts.password or parts.query:
                raise UsageError("--base-url holds a password or query: put the key into --api-key-env")
        if self.api_key_env is not None and re.fullmatch(r"[A-Za-z_]\w*", self.api_key_env) is None:
            raise UsageError(
                f"--api-key-env takes the name of an environment variable, not {self.api_key_env[:8]!r}…"
            )


@dataclass(frozen=True, slots=True)
class Provider:
    """A vendor's own server."""

    url: str
    key: str
    """The environment variable its key is usually in."""
    dialects: tuple[Dialect, ...]
    paths: Mapping[Dialect, str] | None = None
    """Paths that are not the usual ones."""


PROVIDERS: Mapping[str, Provider] = {
    "anthropic": Provider("https://api.anthropic.com", "ANTHROPIC_API_KEY", ("messages",)),
    "openai": Provider("https://api.openai.com", "OPENAI_API_KEY", ("chat", "responses")),
    "gemini": Provider(
        "https://generativelanguage.googleapis.com",
        "GEMINI_API_KEY",
        ("chat", "generate"),
        {"chat": "/v1beta/openai/chat/completions"},
    ),
    "openrouter": Provider(
        "https://openrouter.ai/api", "OPENROUTER_API_KEY", ("chat", "responses", "messages")
    ),
    "deepseek": Provider("https://api.deepseek.com", "DEEPSEEK_API_KEY", OPENAI),
    "groq": Provider("https://api.groq.com/openai", "GROQ_API_KEY", OPENAI),
    "mistral": Provider("https://api.mistral.ai", "MISTRAL_API_KEY", OPENAI),
    "xai": Provider("https://api.x.ai", "XAI_API_KEY", OPENAI),
}
"""Providers whose own protocols the gateway speaks; all others go through litellm."""

_OWN: tuple[tuple[str, str], ...] = (
    (r"claude-.*", "anthropic"),
    (r"(gpt-|chatgpt-|codex-|o\d).*", "openai"),
    (r"gemini-.*", "gemini"),
)
"""Names that say whose they are without a provider before them."""


def provider_of(name: str) -> tuple[str | None, str]:
    """Provider and the model's own name; None where the name does not say."""
    prefix, slash, rest = name.partition("/")
    if slash:
        return prefix, rest
    for pattern, provider in _OWN:
        if re.fullmatch(pattern, name):
            return provider, name
    return None, name


def key_of(variable: str, model: str) -> str:
    """The key in this variable.

    Raises:
        UsageError: there is none.
    """
    key = os.environ.get(variable, "").strip()
    if not key:
        raise UsageError(
            f"model {model}: its key is expected in the environment variable {variable}, which is not set; "
            "set it (a file .env will do), name another one by --api-key-env, or another model by --model"
        )
    remember(key)
    return key
