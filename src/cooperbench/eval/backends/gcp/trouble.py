"""What the vendor says when something is wrong, as one line with its remedy. Vendor exceptions become ours here."""

from __future__ import annotations

import contextlib
import re
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeVar

from cooperbench.errors import BackendError

T = TypeVar("T")

_TRANSIENT = (408, 429, 500, 502, 503, 504)
"""HTTP statuses that may pass."""

_ATTEMPTS = 6
_PAUSE, _LONGEST_PAUSE = 0.25, 8.0

_REMEDIES: tuple[tuple[str, str], ...] = (
    (
        r"quota|RESOURCE_EXHAUSTED|CPUS_ALL_REGIONS|IN_USE_ADDRESSES",
        "ask for more quota (https://console.cloud.google.com/iam-admin/quotas), or use a smaller --concurrency, "
        "another GCP_REGION or GCP_MACHINE_TYPE",
    ),
    (
        r"no VM has agent reporting|agent reporting|batch\.agentReporter",
        "grant the machines' service account roles/batch.agentReporter, and let them reach Google's APIs "
        "(an external address, or Private Google Access)",
    ),
    (
        r"ZONE_RESOURCE_POOL_EXHAUSTED|does not have enough resources|stockout",
        "the region has no such machines now: try another GCP_REGION or GCP_MACHINE_TYPE, or later",
    ),
    (
        r"iam\.serviceAccounts\.actAs|actAs|serviceAccountUser",
        "grant yourself roles/iam.serviceAccountUser on the machines' service account",
    ),
    (
        r"has not been used in project|SERVICE_DISABLED|API has not been|is disabled",
        "gcloud services enable batch.googleapis.com compute.googleapis.com storage.googleapis.com",
    ),
    (
        r"billing",
        "enable billing for the project (https://console.cloud.google.com/billing)",
    ),
    (
        r"PERMISSION_DENIED|permission|forbidden|does not have storage\.|403",
        "see which role is missing: cooperbench config gcp --check",
    ),
    (
        r"Unauthenticated|invalid_grant|credentials|401|Reauthentication",
        "gcloud auth application-default login, or set GOOGLE_APPLICATION_CREDENTIALS to a key file",
    ),
)


class Refused(BackendError):
    """A service said no; `status` is HTTP's."""

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status


class Unreachable(BackendError):
    """A service did not answer, or nobody could say who we are."""


def may_pass(problem: BackendError) -> bool:
    """Whether asking again may help."""
    return isinstance(problem, Unreachable) or (isinstance(problem, Refused) and problem.status in _TRANSIENT)


def patiently(call: Callable[[], T]) -> T:
    """What `call` gives, which is safe to repeat, after as many tries as make sense."""
    for attempt in range(_ATTEMPTS):
        try:
            return call()
        except (Refused, Unreachable) as problem:
            if not may_pass(problem):
                raise
            time.sleep(min(_PAUSE * 2**attempt, _LONGEST_PAUSE))
    return call()


def remedy(text: str) -> str | None:
    """What to do about a message of the vendor's, if that is known."""
    for pattern, told in _REMEDIES:
        if re.search(pattern, text, re.I):
            return told
    return None


def explained(text: str) -> str:
    """A vendor's message in one line of reasonable length, with its remedy."""
    told = " ".join(text.split())
    told = told if len(told) <= 400 else f"{told[:400]}…"
    found = remedy(told)
    return f"{told}; remedy: {found}" if found else told


@contextlib.contextmanager
def complaints(what: str) -> Iterator[None]:
    """Whatever the client libraries raise while doing `what`, as ours.

    Raises:
        Refused: a service answered no. Unreachable: none answered, or there are no credentials.
    """
    from google.api_core import exceptions as api
    from google.auth import exceptions as auth
    from requests import exceptions as http

    try:
        yield
    except (api.RetryError, auth.GoogleAuthError, http.RequestException, ConnectionError) as problem:
        raise Unreachable(f"{what}: {explained(f'{type(problem).__name__}: {problem}')}") from problem
    except api.GoogleAPICallError as problem:
        status = int(problem.code or 0)
        raise Refused(f"{what}: {explained(str(problem))}", status) from problem


def notable(events: Iterable[Any], seen: set[str]) -> list[str]:
    """Lines for people out of a job's or task's status events: what has a remedy, each once.

    Args:
        events: the vendor's `StatusEvent` values.
        seen: what was told before; added to.
    """
    lines = []
    for event in events:
        text = str(event.description)
        if text not in seen and remedy(text) is not None:
            seen.add(text)
            lines.append(explained(text))
    return lines


def last_words(events: Iterable[Any], otherwise: str) -> str:
    """The last thing the vendor said of a job or task."""
    told = [str(event.description) for event in events if event.description]
    return explained(told[-1]) if told else otherwise
