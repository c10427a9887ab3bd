"""Who may read from a registry: what Docker keeps, what its helpers say, and where it is sent."""

from __future__ import annotations

import base64
import json
import os
import time
from pathlib import Path

import pytest

from cooperbench.errors import SandboxStartError
from cooperbench.eval.backends.local import LocalBackend
from cooperbench.eval.backends.local.store import credentials, reference
from cooperbench.eval.backends.local.store import registry as registries
from tests.docker.registry import PASSWORD, USER
from tests.docker.registry import credentials as encoded
from tests.images.conftest import served


def docker_config(monkeypatch: pytest.MonkeyPatch, directory: Path, config: dict[str, object]) -> None:
    (directory / "config.json").write_text(json.dumps(config))
    monkeypatch.setenv("DOCKER_CONFIG", str(directory))


@pytest.mark.parametrize("auth", ["basic", "token"])
def test_credentials_of_the_docker_configuration(
    auth: str, fresh: LocalBackend, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for server in served(auth):
        image = f"{server.address}/private:1"
        docker_config(monkeypatch, tmp_path, {})
        with pytest.raises(SandboxStartError, match="docker login"):
            fresh.prepare_image(image, None)
        docker_config(monkeypatch, tmp_path, {"auths": {server.address: {"auth": encoded()}}})
        assert fresh.prepare_image(image, None) == server.plain
        assert fresh.engine().images.digest(image) == server.plain


@pytest.mark.parametrize("auth", ["basic", "token"])
def test_nothing_is_told_in_the_clear(auth: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for server in served(auth):
        place = server.address.replace("127.0.0.1", "0.0.0.0")  # this machine too, but for all that is known
        docker_config(monkeypatch, tmp_path, {"auths": {place: {"auth": encoded()}}})
        patience = registries.Patience(0, lambda _: None, time.sleep)
        registry = registries.Registry(place, "private", patience, plain=True)
        with pytest.raises(registries.Refused, match="401"):
            registry.manifest("1")
        registry.close()


def test_a_credential_helper(fresh: LocalBackend, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    helper = tmp_path / "docker-credential-mine"
    answer = json.dumps({"ServerURL": "x", "Username": USER, "Secret": PASSWORD})
    helper.write_text(f"#!/bin/sh\nread server; echo \"$server\" >{tmp_path}/asked; echo '{answer}'\n")
    helper.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    for server in served("token"):
        docker_config(monkeypatch, tmp_path, {"credHelpers": {server.address: "mine"}})
        assert fresh.prepare_image(f"{server.address}/private:1", None) == server.plain
        assert (tmp_path / "asked").read_text().strip() == server.address


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ({}, None),
        ({"auths": []}, None),
        ({"auths": {"r.example": {"auth": "!"}}}, None),
        ({"auths": {"r.example": {"auth": base64.b64encode(b"a:b:c").decode()}}}, ("a", "b:c", "")),
        ({"auths": {"https://r.example": {"username": "u", "password": "p"}}}, ("u", "p", "")),
        ({"auths": {"r.example": {"identitytoken": "t"}}}, ("", "", "t")),
        ({"auths": {"other.example": {"auth": "YTpi"}}}, None),
    ],
)
def test_where_credentials_are_kept(
    config: dict[str, object],
    expected: tuple[str, str, str] | None,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    docker_config(monkeypatch, tmp_path, config)
    found = credentials.find("r.example")
    assert (found and (found.user, found.password, found.identity_token)) == expected
    assert found is None or "p" not in repr(found).removeprefix("<Credentials>")


def test_the_hubs_credentials(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    docker_config(monkeypatch, tmp_path, {"auths": {"https://index.docker.io/v1/": {"auth": "YTpi"}}})
    found = credentials.find(reference.HUB)
    assert found is not None
    assert found.user == "a"


@pytest.mark.parametrize("helper", ["no-such-helper", "../evil", "; rm"])
def test_a_helper_that_does_not_work_is_told(
    helper: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    docker_config(monkeypatch, tmp_path, {"credsStore": helper})
    with pytest.raises(SandboxStartError, match=r"not installed|no program's name"):
        credentials.find("r.example")


def test_tokens_are_not_asked_for_in_the_clear(fresh: LocalBackend) -> None:
    patience = registries.Patience(0, lambda _: None, time.sleep)
    remote = registries.Registry("registry.example", "a/b", patience)
    with pytest.raises(SandboxStartError, match="not safe"):
        remote._authorize('Bearer realm="http://evil.example/token",service="x"', "")
    assert fresh.name == "local"
