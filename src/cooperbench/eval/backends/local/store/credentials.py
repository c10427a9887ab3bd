"""Credentials for registries, where Docker keeps them: its configuration file, and the helpers that it names."""

from __future__ import annotations

import base64
import binascii
import json
import os
import re
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cooperbench import atomic
from cooperbench.errors import SandboxStartError
from cooperbench.eval.backends.local.store.reference import HUB

_HUB_KEYS = ("https://index.docker.io/v1/", "index.docker.io", "docker.io", "registry-1.docker.io")
_HELPER = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")
_SECONDS = 30.0
_TOKEN_USER = "<token>"


@dataclass(frozen=True, slots=True)
class Credentials:
    """What a registry is told."""

    user: str
    password: str
    identity_token: str = ""
    """In place of both: traded for tokens."""

    def __repr__(self) -> str:
        return "<Credentials>"  # never in a traceback

    @property
    def basic(self) -> str:
        """The value of an `Authorization` header."""
        return "Basic " + base64.b64encode(f"{self.user}:{self.password}".encode()).decode()


def find(registry: str) -> Credentials | None:
    """What Docker knows for a registry; None if nothing.

    Raises:
        SandboxStartError: a helper that should know does not work.
    """
    config = atomic.read_json(config_file())
    if not isinstance(config, dict):
        return None
    keys = _HUB_KEYS if registry == HUB else (registry, f"https://{registry}", f"http://{registry}")
    helpers = config.get("credHelpers")
    for key in keys:
        if isinstance(helpers, dict) and isinstance(helper := helpers.get(key), str):
            return _from_helper(helper, key)
    if isinstance(store := config.get("credsStore"), str) and store:
        return _from_helper(store, keys[0])
    return _from_file(config.get("auths"), keys)


def config_file() -> Path:
    """Docker's configuration."""
    return Path(os.environ.get("DOCKER_CONFIG") or Path.home() / ".docker") / "config.json"


def _from_file(auths: Any, keys: tuple[str, ...]) -> Credentials | None:
    if not isinstance(auths, dict):
        return None
    for name, entry in auths.items():
        if isinstance(entry, dict) and (name in keys or name.rstrip("/").removesuffix("/v2") in keys):
            return _entry(entry)
    return None


def _entry(entry: Mapping[str, Any]) -> Credentials | None:
    user, password = str(entry.get("username") or ""), str(entry.get("password") or "")
    if auth := entry.get("auth"):
        try:
            user, _, password = base64.b64decode(str(auth)).decode().partition(":")
        except (binascii.Error, ValueError):
            return None
    token = str(entry.get("identitytoken") or "")
    return Credentials(user, password, token) if user or token else None


def _from_helper(helper: str, key: str) -> Credentials | None:
    program = f"docker-credential-{helper}"
    if _HELPER.fullmatch(helper) is None:
        raise SandboxStartError(
            f"{config_file()} names a credential helper {helper!r}, which is no program's name"
        )
    try:
        done = subprocess.run(
            [program, "get"], input=key, capture_output=True, text=True, timeout=_SECONDS, check=False
        )
        if done.returncode:
            if "credentials not found" in (done.stdout + done.stderr).lower():
                return None
            said = (done.stdout + done.stderr).strip().splitlines() or ["nothing"]
            raise SandboxStartError(f"{program} has no credentials for {key}: it says {said[0][:200]}")
        given = json.loads(done.stdout)
        user, secret = str(given["Username"]), str(given["Secret"])
    except FileNotFoundError as problem:
        raise SandboxStartError(
            f"{config_file()} wants credentials from {program}, which is not installed"
        ) from problem
    except (OSError, subprocess.TimeoutExpired, ValueError, KeyError, TypeError) as problem:
        raise SandboxStartError(
            f"{program} gives no credentials for {key} ({type(problem).__name__})"
        ) from problem
    return Credentials("", "", secret) if user == _TOKEN_USER else Credentials(user, secret)
