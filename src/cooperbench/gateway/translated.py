"""Models that only litellm reaches (Vertex AI, Bedrock, Azure …): OpenAI's chat in, the provider's own words out."""

from __future__ import annotations

from typing import Any

from cooperbench.errors import MissingExtra, UsageError
from cooperbench.gateway.access import ModelAccess, key_of
from cooperbench.gateway.calls import JSON, STREAM, Call, CallError, Dialect, Reply
from cooperbench.quiet_import import quiet_litellm
from cooperbench.redaction import redacted, secrets

_PASSED = frozenset(
    {
        *("messages", "tools", "tool_choice", "parallel_tool_calls", "response_format"),
        *("reasoning_effort", "verbosity"),
        *("temperature", "top_p", "n", "seed", "stop", "presence_penalty", "frequency_penalty", "logit_bias"),
        *("max_tokens", "max_completion_tokens", "logprobs", "top_logprobs", "stream", "stream_options"),
    }
)
"""What of a request goes on. All else are litellm's own switches, such as where to send the key, and a request may
come from inside a sandbox."""


class Translated:
    """One model through litellm, which takes its credentials from the harness's environment."""

    dialects: tuple[Dialect, ...] = ("chat",)

    def __init__(self, access: ModelAccess) -> None:
        """Raises: MissingExtra: litellm is not installed. UsageError: it does not know the provider."""
        self.model = access.name
        self._key = key_of(access.api_key_env, access.name) if access.api_key_env else None
        try:
            self._litellm: Any = quiet_litellm()
        except ImportError as problem:
            raise MissingExtra(f"model {access.name}", "litellm") from problem
        try:
            self._litellm.get_llm_provider(access.name)
        except Exception as problem:  # its exceptions are as many as its providers
            raise UsageError(f"model {access.name!r}: litellm knows no such provider") from problem

    def answer(self, call: Call) -> Reply:
        """Ask by litellm.

        Raises:
            CallError: it raised; the status is the provider's where it says one.
        """
        passed = {name: value for name, value in call.body.items() if name in _PASSED}
        options = {**passed, "model": self.model, "num_retries": 0, "drop_params": True}
        if self._key is not None:
            options["api_key"] = self._key
        try:
            answer = self._litellm.completion(**options)
            if not call.streamed:
                return Reply(200, JSON, answer.model_dump_json().encode())
            pieces = [f"data: {piece.model_dump_json()}\n\n" for piece in answer]
        except Exception as problem:  # see above
            status = getattr(problem, "status_code", None)
            code = status if isinstance(status, int) and 400 <= status < 600 else 502
            told = f"{type(problem).__name__}: {problem}"
            raise CallError(code, redacted(told, secrets())) from problem
        return Reply(200, STREAM, "".join([*pieces, "data: [DONE]\n\n"]).encode())
