"""Image names as people write them."""

from __future__ import annotations

import pytest

from cooperbench.errors import UsageError
from cooperbench.eval.backends.local.store import pulling, reference


@pytest.mark.parametrize(
    ("name", "familiar"),
    [
        ("python", "python:latest"),
        ("docker.io/library/python:3", "python:3"),
        ("index.docker.io/a/b", "a/b:latest"),
        ("localhost/a:1", "localhost/a:1"),
        ("127.0.0.1:5000/a/b__c-d:1", "127.0.0.1:5000/a/b__c-d:1"),
        ("ghcr.io/a/b@sha256:" + "0" * 64, "ghcr.io/a/b@sha256:" + "0" * 64),
        ("a/b:1@sha256:" + "0" * 64, "a/b@sha256:" + "0" * 64),
    ],
)
def test_names(name: str, familiar: str) -> None:
    assert reference.parse(name).familiar == familiar
    assert reference.parse(familiar).familiar == familiar


@pytest.mark.parametrize(
    "name", ["", "A/b", "a b", "a:b:c", "a@sha256:00", "../a", "a//b", "a/../b", "-x", "a:" + "t" * 129]
)
def test_what_is_no_name(name: str) -> None:
    with pytest.raises(UsageError):
        reference.parse(name)
    assert reference.familiar(name) == name


def test_where_is_looked() -> None:
    hub, other = reference.parse("python:3.11-slim"), reference.parse("ghcr.io/a/b:1")
    mirrors = ("m.example", "http://n.example:5000/p")
    assert [(place.registry, place.repository, place.plain) for place in pulling.places(hub, mirrors)] == [
        ("m.example", "library/python", None),
        ("n.example:5000", "p/library/python", True),
        ("docker.io", "library/python", None),
    ]
    assert [place.repository for place in pulling.places(other, mirrors)] == [
        "ghcr.io/a/b",
        "p/ghcr.io/a/b",
        "a/b",
    ]
