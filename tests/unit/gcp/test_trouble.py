"""The vendor's words, explained; the vendor's exceptions, made ours."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from google.api_core import exceptions as api
from google.auth import exceptions as auth
from requests import exceptions as http

from cooperbench.errors import BackendError
from cooperbench.eval.backends.gcp import trouble
from cooperbench.eval.backends.gcp.trouble import Refused, Unreachable, complaints


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ("Quota checking process decides to delay scheduling: quota CPUS exceeded", "ask for more quota"),
        (
            "no VM has agent reporting correctly within the time window 1080 seconds",
            "roles/batch.agentReporter",
        ),
        ("VM in zone has ZONE_RESOURCE_POOL_EXHAUSTED", "another GCP_REGION or GCP_MACHINE_TYPE"),
        ("caller does not have access to act as iam.serviceAccounts.actAs", "roles/iam.serviceAccountUser"),
        ("Batch API has not been used in project 7 before or it is disabled", "gcloud services enable"),
        ("PERMISSION_DENIED: batch.jobs.create", "cooperbench config gcp --check"),
        ("invalid_grant: Token has been expired", "gcloud auth application-default login"),
    ],
)
def test_what_the_vendor_says_comes_with_its_remedy(said: str, told: str) -> None:
    text = trouble.explained(said)
    assert said in text
    assert told in text
    assert "\n" not in text


def test_what_needs_no_remedy_is_left_alone() -> None:
    assert trouble.explained("Job state is set from QUEUED\nto SCHEDULED") == (
        "Job state is set from QUEUED to SCHEDULED"
    )


def test_notable_events_are_told_once() -> None:
    events = [SimpleNamespace(description=text) for text in ("moves on", "quota A", "quota A", "quota B")]
    seen: set[str] = set()
    assert [line.partition(";")[0] for line in trouble.notable(events, seen)] == ["quota A", "quota B"]
    assert trouble.notable(events, seen) == []


@pytest.mark.parametrize(
    ("raised", "kind", "status"),
    [
        (api.NotFound("gone"), Refused, 404),
        (api.AlreadyExists("there"), Refused, 409),
        (api.PreconditionFailed("not so"), Refused, 412),
        (api.ServiceUnavailable("later"), Refused, 503),
        (auth.DefaultCredentialsError("none"), Unreachable, None),
        (http.ConnectionError("no"), Unreachable, None),
        (ConnectionResetError("no"), Unreachable, None),
    ],
)
def test_the_vendors_exceptions_become_ours(
    raised: Exception, kind: type[Exception], status: int | None
) -> None:
    with pytest.raises(BackendError, match="doing it: ") as caught, complaints("doing it"):
        raise raised
    assert type(caught.value) is kind
    assert getattr(caught.value, "status", None) == status
    assert caught.value.__cause__ is raised


def test_our_own_faults_pass() -> None:
    with pytest.raises(KeyError), complaints("doing it"):
        raise KeyError("ours")


@pytest.mark.parametrize(
    "problem", [Refused("later", 503), Refused("too fast", 429), Unreachable("no answer")]
)
def test_what_may_pass_is_asked_again(problem: BackendError, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trouble, "_PAUSE", 0.0)
    answers: list[BackendError | str] = [problem, problem, "here"]

    def ask() -> str:
        answer = answers.pop(0)
        if isinstance(answer, BackendError):
            raise answer
        return answer

    assert trouble.patiently(ask) == "here"
    assert answers == []


@pytest.mark.parametrize(("problem", "tries"), [(Refused("gone", 404), 1), (Refused("later", 503), 7)])
def test_patience_has_an_end(problem: BackendError, tries: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trouble, "_PAUSE", 0.0)
    asked: list[int] = []

    def ask() -> None:
        asked.append(1)
        raise problem

    with pytest.raises(Refused):
        trouble.patiently(ask)
    assert len(asked) == tries
