"""A registry's side of images: manifests and blobs by the distribution protocol, and whatever it wants to see first."""

from __future__ import annotations

import hashlib
import json
import logging
import math
import re
import threading
import time
import urllib.parse
from collections.abc import Callable, Iterator
from email.utils import parsedate_to_datetime

from cooperbench.errors import SandboxStartError
from cooperbench.eval.backends.local.store import credentials, manifests, streams
from cooperbench.eval.backends.local.store.reference import DIGEST, HUB
from cooperbench.eval.backends.local.store.transport import Answer, Connections, is_loopback

log = logging.getLogger(__name__)

_HUB_HOST = "registry-1.docker.io"
_FIRST_PAUSE = 15.0
_LONGEST_PAUSE = 600.0
_CHALLENGE = re.compile(r'(\w+)="([^"]*)"')
_AGAIN = 3
"""Attempts at a request that a registry answers with trouble of its own."""


class Refused(streams.Interrupted):
    """The registry answered, and would not."""

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status


class Patience:
    """How "too many requests" is borne: one waits, the others wait with it, and somebody is told."""

    def __init__(
        self, seconds: float, tell: Callable[[str | None], None], pause: Callable[[float], object]
    ) -> None:
        self._until = time.monotonic() + seconds
        self._tell = tell
        self._pause = pause
        self._lock = threading.Lock()

    def wait(self, seconds: float, who: str) -> bool:
        """Wait so long; False when that would be longer than there is patience for."""
        then = time.monotonic() + seconds
        if then > self._until:
            return False
        with self._lock:
            left = then - time.monotonic()
            if left > 0:  # else others, asked to wait at the same time, have waited for this one too
                told = f"{who} has had too many requests; asking again in {math.ceil(left)} s"
                log.warning("%s", told)
                self._tell(told)
                self._pause(left)
                self._tell(None)
        return True

    def others(self) -> None:
        """Wait while somebody waits: asking would only add to it."""
        with self._lock:
            pass


class Registry:
    """One repository of one registry. Safe to use from any thread."""

    def __init__(
        self, registry: str, repository: str, patience: Patience, *, plain: bool | None = None
    ) -> None:
        """
        Args:
            registry: host with a port perhaps, or `HUB`.
            plain: speak HTTP without TLS; None: to this machine itself only.
        """
        self.registry = registry
        self.repository = repository
        self._host = _HUB_HOST if registry == HUB else registry
        self._plain = is_loopback(self._host) if plain is None else plain
        self._patience = patience
        self._connections = Connections()
        self._lock = threading.Lock()
        self._authorization = ""

    def close(self) -> None:
        """Let go of its connections."""
        self._connections.close()

    # ------------------------------------------------------------------------------------------ what is there

    def manifest(self, wanted: str) -> tuple[str, bytes]:
        """A manifest or index by tag or digest: its digest, and itself.

        Raises:
            Refused: there is none, or it is not for us. Unreachable: no answer. SandboxStartError: not what was asked.
        """
        accept = {"Accept": ", ".join(manifests.TYPES)}
        answer = self._ask("GET", f"manifests/{wanted}", accept)
        content = answer.content(manifests.LONGEST)
        digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
        promised = wanted if DIGEST.fullmatch(wanted) else answer.headers.get("docker-content-digest", digest)
        if promised.startswith("sha256:") and promised != digest:
            raise SandboxStartError(
                f"{self._host} gives a manifest of {self.repository} that is not what its name promises: "
                f"{digest}, not {promised}"
            )
        return digest, content

    def digest(self, tag: str) -> str | None:
        """What a tag stands for now, by a question that counts against no limit; None when it is not told."""
        answer = self._ask("HEAD", f"manifests/{tag}", {"Accept": ", ".join(manifests.TYPES)})
        answer.close()
        return answer.headers.get("docker-content-digest")

    def blob(self, digest: str, begin: int = 0) -> Iterator[bytes]:
        """A blob's bytes from `begin` on. Not verified.

        Raises:
            Refused, Unreachable: as `manifest`.
        """
        headers = {"Range": f"bytes={begin}-"} if begin else {}
        answer = self._ask("GET", f"blobs/{digest}", headers)
        skip = begin if begin and answer.status != 206 else 0  # it gives all of it, whatever it is asked for
        try:
            for piece in answer.pieces(streams.PIECE):
                if skip >= len(piece):
                    skip -= len(piece)
                    continue
                yield piece[skip:]
                skip = 0
        finally:
            answer.close()

    # ------------------------------------------------------------------------------------------ asking

    def _ask(self, method: str, what: str, headers: dict[str, str]) -> Answer:
        url = f"{'http' if self._plain else 'https'}://{self._host}/v2/{self.repository}/{what}"
        asked, troubles, pause = False, 0, _FIRST_PAUSE
        while True:
            self._patience.others()
            authorization = self._authorization
            given = {**headers, "Authorization": authorization} if authorization else headers
            answer = self._connections.ask(method, url, given)
            if answer.status in (200, 206):
                return answer
            if answer.status == 401 and not asked:
                answer.close()
                self._authorize(answer.headers.get("www-authenticate", ""), authorization)
                asked = True
                continue
            complaint = self._complaint(what, answer)
            if answer.status == 429:
                if not self._patience.wait(_retry_after(answer, pause), self._host):
                    raise complaint
                pause = min(2 * pause, _LONGEST_PAUSE)
            elif answer.status >= 500 and (troubles := troubles + 1) < _AGAIN:
                time.sleep(troubles)
            else:
                raise complaint

    def _complaint(self, what: str, answer: Answer) -> Refused:
        text = answer.complaint()
        try:
            said = "; ".join(
                str(each.get("message") or each.get("code")) for each in json.loads(text)["errors"]
            )
        except (ValueError, RecursionError, KeyError, TypeError, AttributeError):
            said = ""
        told = f"{self._host} answers {answer.status}{f' ({said[:200]})' if said else ''} for {self.repository}/{what}"
        return Refused(f"{told}{_remedy(answer.status)}", answer.status)

    def _authorize(self, challenge: str, refused: str) -> None:
        """Get what the registry wants to see; once, however many threads were sent away."""
        with self._lock:
            if self._authorization != refused:
                return
            known = self._known()
            kind = challenge.partition(" ")[0].lower()
            if kind == "basic" and known is not None:
                self._authorization = known.basic
            elif kind == "bearer":
                self._authorization = f"Bearer {self._token(dict(_CHALLENGE.findall(challenge)), known)}"

    def _known(self) -> credentials.Credentials | None:
        """What may be told here: nothing that others on the way could read."""
        known = credentials.find(self.registry)
        if known is None or not self._plain or is_loopback(self._host):
            return known
        log.warning(
            "%s is spoken to without TLS: it is not told the credentials there are for it", self._host
        )
        return None

    def _token(self, challenge: dict[str, str], known: credentials.Credentials | None) -> str:
        realm = challenge.get("realm", "")
        try:
            place = urllib.parse.urlsplit(realm)
        except ValueError as problem:
            raise SandboxStartError(
                f"{self._host} sends to {realm!r} for a token, which is no URL"
            ) from problem
        plain = self._plain and place.scheme == "http" and (known is None or is_loopback(place.netloc))
        if place.scheme != "https" and not plain:
            raise SandboxStartError(f"{self._host} sends to {realm!r} for a token, which is not safe")
        asked = {
            "service": challenge.get("service", ""),
            "scope": challenge.get("scope") or f"repository:{self.repository}:pull",
        }
        if known is not None and known.identity_token:
            form = {**asked, "grant_type": "refresh_token", "refresh_token": known.identity_token}
            form["client_id"] = "cooperbench"
            answer = self._connections.ask(
                "POST",
                realm,
                {"Content-Type": "application/x-www-form-urlencoded"},
                urllib.parse.urlencode(form).encode(),
            )
        else:
            joint = "&" if place.query else "?"
            headers = {"Authorization": known.basic} if known is not None else {}
            answer = self._connections.ask("GET", f"{realm}{joint}{urllib.parse.urlencode(asked)}", headers)
        if answer.status != 200:
            answer.close()
            raise Refused(
                f"{place.netloc} gives no token for {self.repository}: {answer.status}{_remedy(answer.status)}",
                answer.status,
            )
        try:
            found = json.loads(answer.content(1 << 20))
            return str(found.get("token") or found["access_token"])
        except (ValueError, RecursionError, KeyError, TypeError, AttributeError) as problem:
            raise SandboxStartError(f"{place.netloc} gives what is no token") from problem


def _retry_after(answer: Answer, otherwise: float) -> float:
    text = answer.headers.get("retry-after", "")
    if text.isascii() and text.isdigit():
        return min(max(float(text[:9]), 1.0), 6 * 3600.0)
    try:
        return min(max(parsedate_to_datetime(text).timestamp() - time.time(), 1.0), 6 * 3600.0)
    except (ValueError, TypeError):
        return otherwise


def _remedy(status: int) -> str:
    if status in (401, 403):
        return ": does it exist? if it is private: docker login, or credentials in Docker's config.json"
    if status == 404:
        return ": its registry does not have it"
    if status == 429:
        return ": its registry has had too many requests; log in for more, name a mirror, or be more patient"
    return ""
