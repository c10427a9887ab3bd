"""Who is let in: workspace tokens, and JSON web tokens signed with a secret of this server's own."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import os
import time
from typing import Any

TOKEN_ID, TOKEN_SECRET = "ak-loopback", "as-loopback"

_SECRET = os.urandom(16)


def issue(seconds: float, **claims: Any) -> str:
    """A signed token that is good for so long: three parts and an ``exp``, as the client parses it [client]."""
    head = _encoded(b'{"alg":"HS256","typ":"JWT"}')
    body = _encoded(json.dumps({**claims, "exp": time.time() + seconds}).encode())
    return f"{head}.{body}.{_signature(f'{head}.{body}')}"


def claims(token: str) -> dict[str, Any] | None:
    """What a token says; None when it is not ours or has expired."""
    signed, _, signature = token.rpartition(".")
    if not hmac.compare_digest(signature, _signature(signed)):
        return None
    body = signed.partition(".")[2]
    said: dict[str, Any] = json.loads(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)))
    return said if said["exp"] > time.time() else None


def _signature(signed: str) -> str:
    return _encoded(hmac.new(_SECRET, signed.encode(), hashlib.sha256).digest())


def _encoded(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode()
