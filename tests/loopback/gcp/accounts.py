"""Who may do what: tokens handed out for a service account's signed assertion or by a VM's metadata server.

Facts: the assertion's audience is https://oauth2.googleapis.com/token whatever the key file's `token_uri` (seen with
google-auth 2.63); clients may also send a JWT they signed themselves (AIP-4111), for the audience
https://batch.googleapis.com/ or, instead of any, for a scope.
A VM's account gets what docs/SECURITY asks users to grant: roles/storage.objectUser on one bucket, nothing else of what
is served here.
"""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from google.auth import exceptions as auth_errors
from google.auth import jwt

from tests.loopback.gcp import keys

TOKEN_AUDIENCE = "https://oauth2.googleapis.com/token"
BATCH_AUDIENCE = "https://batch.googleapis.com/"
SCOPE = "https://www.googleapis.com/auth/cloud-platform"
OBJECT_USER = frozenset(f"storage.objects.{verb}" for verb in ("create", "delete", "get", "list", "update"))


@dataclass(frozen=True, slots=True)
class _Token:
    account: str
    until: float


@dataclass(slots=True)
class Accounts:
    """The two accounts there are, their tokens and permissions."""

    project: str
    lifetime: float = 3600
    """Seconds a token lives from now on."""
    denied: set[str] = field(default_factory=set)
    """Permissions the harness's account has not been granted."""
    _tokens: dict[str, _Token] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def harness(self) -> str:
        """Who submits jobs."""
        return f"bench@{self.project}.iam.gserviceaccount.com"

    @property
    def vm(self) -> str:
        """Whose tokens the metadata server gives."""
        return "1-compute@developer.gserviceaccount.com"

    def issue(self, account: str) -> dict[str, Any]:
        """A new token, as OAuth words it."""
        token = f"ya29.{uuid.uuid4().hex}"
        with self._lock:
            self._tokens[token] = _Token(account, time.monotonic() + self.lifetime)
        return {"access_token": token, "expires_in": int(self.lifetime), "token_type": "Bearer"}

    def expire(self) -> None:
        """Every token handed out so far is worth nothing any more."""
        with self._lock:
            self._tokens.clear()

    def caller(self, authorization: str) -> str | None:
        """Whose access token, or self-signed JWT, this header carries."""
        credential = authorization.removeprefix("Bearer ")
        with self._lock:
            token = self._tokens.get(credential)
        if token:
            return token.account if time.monotonic() < token.until else None
        claims = self._claims(credential, None)
        fits = claims.get("aud") == BATCH_AUDIENCE or SCOPE in str(claims.get("scope", "")).split()
        return self._issuer(claims) if fits else None

    def assertion(self, assertion: str) -> str | None:
        """Who signed this grant."""
        return self._issuer(self._claims(assertion, TOKEN_AUDIENCE))

    def may(self, account: str, permission: str, bucket: str | None, granted: str) -> bool:
        """Whether the account has the permission; `granted` is the bucket a VM's account may use."""
        if account == self.harness:
            return permission not in self.denied
        return permission in OBJECT_USER and bucket == granted

    def _issuer(self, claims: Mapping[str, Any]) -> str | None:
        return self.harness if claims.get("iss") == self.harness else None

    @staticmethod
    def _claims(token: str, audience: str | None) -> Mapping[str, Any]:
        """What a JWT says, if its signature and times are good."""
        try:
            return jwt.decode(token, certs=keys.key().public, audience=audience)
        except (ValueError, auth_errors.GoogleAuthError):
            return {}
