"""What may be set, whose a container is, what a Dockerfile begins with, what an image is called."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from cooperbench.errors import UsageError
from cooperbench.eval.backends.base import SandboxSpec
from cooperbench.eval.backends.docker import config, containers, owner
from cooperbench.eval.backends.docker.engine import places
from cooperbench.eval.backends.docker.images import digest, name_and_tag
from cooperbench.eval.backends.docker.recipes import bases


def test_settings_of_a_table() -> None:
    settings = config.settings({"memory": "512m", "cpus": 2, "env": {"A": "b"}, "disk_budget": "1.5g"})
    assert (settings.memory, settings.cpus, settings.env) == (512 << 20, 2, {"A": "b"})
    assert settings.disk_budget == 3 << 29


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ({"memroy": 1}, "unknown setting 'memroy'"),
        ({"memory": "much"}, "memory is a size such as 512m or 4g, not 'much'"),
        ({"memory": 0}, "memory must be positive"),
        ({"processes": "9"}, "processes cannot be '9'"),
        ({"processes": True}, "processes cannot be True"),
        ({"network": "bridge"}, "network 'bridge': one of open, none, internal, host"),
        ({"pull": "sometimes"}, "pull 'sometimes': one of missing, always, never"),
        ({"env": {"A": 1}}, "env is a table of texts"),
        ({"cpus": -1}, "cpus must not be negative"),
    ],
)
def test_settings_that_are_none(table: dict[str, object], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        config.settings(table)


def test_what_a_live_process_owns_is_not_left_behind() -> None:
    assert not owner.left_behind(owner.labels({}, 600))


def test_what_a_dead_process_owned_is() -> None:
    ask = "from cooperbench.eval.backends.docker import owner; print(owner.labels({}, 600)[owner.OWNER])"
    label = subprocess.run([sys.executable, "-c", ask], capture_output=True, text=True, check=True).stdout
    assert owner.left_behind(
        {owner.PRODUCT: "cooperbench", owner.OWNER: label.strip(), owner.EXPIRY: "9999999999"}
    )


def test_a_process_id_used_again_is_another_process() -> None:
    machine, pid, started = owner.labels({}, 600)[owner.OWNER].split("_")
    assert pid == str(os.getpid())
    label = f"{machine}_{pid}_{int(started) + 1}"
    assert owner.left_behind({owner.PRODUCT: "cooperbench", owner.OWNER: label, owner.EXPIRY: "9999999999"})


@pytest.mark.parametrize(("expiry", "left"), [("9999999999", False), ("1000000000", True), ("", True)])
def test_of_another_machine_only_the_expiry_is_known(expiry: str, left: bool) -> None:
    labels = {owner.PRODUCT: "cooperbench", owner.OWNER: "elsewhere_5_5", owner.EXPIRY: expiry}
    assert owner.left_behind(labels) is left


def test_what_is_not_ours_is_never_left_behind() -> None:
    assert not owner.left_behind({})


def test_bases_of_a_dockerfile(tmp_path: Path) -> None:
    begins = ("--platform=linux/amd64 golang:1 AS build", "build", "scratch", "debian:$V", "alpine")
    (tmp_path / "Dockerfile").write_text("ARG V=1\n" + "".join(f"From {each}\nRUN x\n" for each in begins))
    assert bases(tmp_path / "Dockerfile") == ["golang:1", "alpine"]


@pytest.mark.parametrize(
    ("image", "parts"),
    [
        ("debian", ("debian", "latest")),
        ("debian:12", ("debian", "12")),
        ("host:5000/a/b", ("host:5000/a/b", "latest")),
        ("host:5000/a/b:c", ("host:5000/a/b", "c")),
        ("a/b@sha256:00", ("a/b", "sha256:00")),
    ],
)
def test_names_of_images(image: str, parts: tuple[str, str]) -> None:
    assert name_and_tag(image) == parts


def test_digests() -> None:
    assert digest({"Id": "sha256:aa", "RepoDigests": ["x@sha256:bb"]}) == "sha256:bb"
    assert digest({"Id": "sha256:aa", "RepoDigests": []}) == "sha256:aa"
    assert digest({"Id": "aa"}) == "sha256:aa"
    assert digest({}) is None


def test_the_environment_comes_before_the_usual_sockets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", "tcp://engine.example:2375")
    monkeypatch.delenv("DOCKER_TLS_VERIFY", raising=False)
    assert [place.address for place in places(config.Settings())] == ["tcp://engine.example:2375"]
    assert [p.address for p in places(config.Settings(host="unix:///x"))] == ["unix:///x"]


def test_the_current_context(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("DOCKER_HOST", raising=False)
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    monkeypatch.setenv("HOME", str(tmp_path))
    found = subprocess.run(
        [sys.executable, "-c", _CONTEXT], capture_output=True, text=True, check=False, env={**os.environ}
    )
    assert found.stdout.split() == ["unix:///elsewhere.sock"], found.stderr


_CONTEXT = """
import json, os, pathlib
pathlib.Path(os.environ["DOCKER_CONFIG"], "config.json").write_text(json.dumps({"currentContext": "mine"}))
from docker.context import ContextAPI
ContextAPI.create_context("mine", host="unix:///elsewhere.sock")
from cooperbench.eval.backends.docker.config import Settings
from cooperbench.eval.backends.docker.engine import places
print(*[place.address for place in places(Settings())])
"""


def test_nothing_of_the_host_is_given_to_a_container() -> None:
    asked = containers.configuration(
        config.Settings(), SandboxSpec("image", labels={"run": "r"}), "none", ["/bin/sh", "-c"]
    )
    host = asked["HostConfig"]
    assert isinstance(host, dict)
    assert not {"Binds", "Mounts", "Privileged", "PidMode", "IpcMode", "Devices"} & host.keys()
    assert asked["Entrypoint"] == ["/bin/sh"]


def test_the_client_library_is_not_loaded_before_it_is_needed() -> None:
    made = "from cooperbench.eval.backends.docker import DockerBackend; DockerBackend()"
    ask = f"import sys; {made}; print('docker' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", ask], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
