"""The servers calls go to: a vendor's own, or any that speaks a vendor's protocol.

What is sent is the framework's request with the run's model in it; what comes back is handed on byte for byte, but
for the key should a server ever repeat it.
"""

from __future__ import annotations

import http.client
import json
import urllib.error
import urllib.request
from collections.abc import Mapping
from email.message import Message

from cooperbench.errors import UsageError
from cooperbench.gateway.access import PROVIDERS, ModelAccess, Source, key_of, provider_of
from cooperbench.gateway.calls import DIALECTS, JSON, PATHS, Call, CallError, Dialect, Reply
from cooperbench.redaction import SHORTEST, SHOWN

_SECONDS = 900
"""How long one answer may take: models that think do."""
_LIMIT = 64 * 1024 * 1024
_VERSION = "2023-06-01"
"""Of Anthropic's protocol, which wants one."""


def open_source(access: ModelAccess) -> Source:
    """Where calls to this model go.

    Raises:
        UsageError: nothing says where, or the key is missing. MissingExtra: only litellm reaches it.
    """
    provider, own_name = provider_of(access.name)
    if access.base_url is not None:
        key = key_of(access.api_key_env, access.name) if access.api_key_env else None
        base = access.base_url.rstrip("/").removesuffix("/v1")
        # A name's provider is ours to know, not the server's; `hosted/model` is a name of its own.
        name = own_name if provider in PROVIDERS else access.name
        return Upstream(base, key, name, _preferred(provider))
    if provider is None:
        raise UsageError(
            f"model {access.name!r}: whose is it? Put the provider before it, as in openai/{access.name}, "
            "or say where it is served by --base-url"
        )
    if (known := PROVIDERS.get(provider)) is not None:
        key = key_of(access.api_key_env or known.key, access.name)
        return Upstream(known.url, key, own_name, known.dialects, known.paths)
    from cooperbench.gateway.translated import Translated

    return Translated(access)


def _preferred(provider: str | None) -> tuple[Dialect, ...]:
    """All protocols a server of the user's may speak, that of the name's provider first."""
    known = PROVIDERS.get(provider or "")
    return tuple(dict.fromkeys((*(known.dialects if known else ()), *DIALECTS)))


class Upstream:
    """One server over HTTP."""

    def __init__(
        self,
        url: str,
        key: str | None,
        model: str,
        dialects: tuple[Dialect, ...],
        paths: Mapping[Dialect, str] | None = None,
    ) -> None:
        self.model = model
        self.dialects = dialects
        self._url = url
        self._key = key
        self._paths: dict[Dialect, str] = {dialect: path for path, dialect in PATHS.items()} | dict(
            paths or {}
        )

    def __repr__(self) -> str:
        return f"<Upstream {self._url} {self.model}>"

    def answer(self, call: Call) -> Reply:
        """Ask the server; what it refuses is a reply too.

        Raises:
            CallError: it cannot be reached, or sends what cannot be kept.
        """
        request = urllib.request.Request(
            self._url + self._path(call), json.dumps(call.body).encode(), self._headers(call), method="POST"
        )
        self._unlock(request, call)
        try:
            with urllib.request.urlopen(request, timeout=_SECONDS) as response:
                body = response.read(_LIMIT + 1)
                if response.length and len(body) <= _LIMIT:  # the connection ended before the answer did
                    raise http.client.IncompleteRead(body, response.length)
                return self._reply(response.status, response.headers, body)
        except urllib.error.HTTPError as refused:
            with refused:
                return self._reply(refused.code, refused.headers, refused.read(_LIMIT + 1))
        except (OSError, http.client.HTTPException, ValueError) as problem:
            reason = getattr(problem, "reason", None) or problem
            raise CallError(
                502, f"the model's server does not answer: {self._shown(str(reason))}"
            ) from problem

    def _path(self, call: Call) -> str:
        if call.dialect != "generate":
            return self._paths[call.dialect]
        verb = "streamGenerateContent?alt=sse" if call.streamed else "generateContent"
        return f"/v1beta/models/{self.model}:{verb}"

    def _headers(self, call: Call) -> dict[str, str]:
        headers = {"Content-Type": JSON, "User-Agent": "cooperbench"}
        if call.dialect == "messages":
            headers["anthropic-version"] = _VERSION
            if beta := call.headers.get("anthropic-beta"):
                headers["anthropic-beta"] = beta
        return headers

    def _unlock(self, request: urllib.request.Request, call: Call) -> None:
        """Put the key in, for this server alone: it does not go where a redirect leads."""
        if self._key is not None:
            name = {"messages": "x-api-key", "generate": "x-goog-api-key"}.get(call.dialect)
            request.add_unredirected_header(
                name or "Authorization", self._key if name else f"Bearer {self._key}"
            )

    def _reply(self, status: int, headers: Message, body: bytes) -> Reply:
        if len(body) > _LIMIT:
            raise CallError(502, f"the model's answer has more than {_LIMIT >> 20} MiB")
        if self._key is not None and len(self._key) >= SHORTEST:
            body = body.replace(self._key.encode(), SHOWN.encode())
        return Reply(status, headers.get("Content-Type", JSON), body)

    def _shown(self, text: str) -> str:
        return text.replace(self._key, SHOWN) if self._key and len(self._key) >= SHORTEST else text
