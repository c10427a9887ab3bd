"""What the modal backend makes of settings, credentials and prices, without Modal."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from cooperbench.errors import SandboxStartError, UsageError
from cooperbench.eval.backends.base import SandboxSpec
from cooperbench.eval.backends.modal import ModalBackend, config, credentials, prices
from cooperbench.eval.backends.modal.creating import asked


def test_settings_of_a_table() -> None:
    table = {
        "cpu": 2,
        "memory": [512, 1024],
        "region": "us-east",
        "domain_allowlist": ["pypi.org"],
        "env": {"A": "b"},
    }
    settings = config.settings(table)
    assert (settings.cpu, settings.memory) == ((2, 2), (512, 1024))
    assert (settings.region, settings.domain_allowlist, settings.env) == (
        ("us-east",),
        ("pypi.org",),
        {"A": "b"},
    )


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ({"cpus": 1}, "unknown setting 'cpus'"),
        ({"cpu": "2"}, "cpu is a number or two"),
        (
            {"cpu": [4, 1]},
            r"cpu is what a sandbox gets and the most it may use, as in \[1, 4\], not \[4, 1\]",
        ),
        ({"cpu": [1, 2, 3]}, "cpu is a number or two"),
        ({"cpu": float("nan")}, "cpu is a number or two"),
        ({"memory": 0}, "memory is what a sandbox gets"),
        ({"memory": 1.5}, "memory is a number or two"),
        ({"network": "host"}, "network 'host': one of open, none"),
        ({"runtime": "docker"}, "runtime 'docker': one of"),
        ({"cidr_allowlist": [1]}, "cidr_allowlist is a list of texts"),
        ({"env": {"A": 1}}, "env is a table of texts"),
        ({"output": 0}, "output must be positive"),
        ({"output": True}, "output is a size such as 512m or 4g, not True"),
        ({"builds": True}, "builds cannot be True"),
        ({"idle": -1}, "idle must not be negative"),
        ({"creates_per_second": "4"}, "creates_per_second cannot be '4'"),
        ({"app_name": ""}, "app_name must not be empty"),
    ],
)
def test_what_is_no_setting(table: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=f"^modal backend: {said}") as caught:
        config.settings(table)
    assert "\n" not in str(caught.value)


# -------------------------------------------------------------------------------------------- credentials


@pytest.fixture(name="file", autouse=True)
def _file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine without any."""
    for name in ("TOKEN_ID", "TOKEN_SECRET", "OAUTH_REFRESH_TOKEN", "OAUTH_CLIENT_ID", "PROFILE"):
        monkeypatch.delenv(f"MODAL_{name}", raising=False)
    monkeypatch.setenv("MODAL_CONFIG_PATH", str(tmp_path / "modal.toml"))
    return tmp_path / "modal.toml"


def test_without_any(file: Path) -> None:
    assert credentials.found() is None
    file.write_text("this is not TOML [")
    assert credentials.found() is None


def test_half_of_them_are_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MODAL_TOKEN_ID", "ak-1")
    assert credentials.found() is None
    monkeypatch.setenv("MODAL_TOKEN_SECRET", "as-1")
    assert credentials.found() == "MODAL_TOKEN_ID is set"


@pytest.mark.parametrize(
    ("content", "profile", "there"),
    [
        ('[default]\ntoken_id = "a"\ntoken_secret = "b"\n', "", True),
        ('[default]\ntoken_id = "a"\n', "", False),
        ('[work]\ntoken_id = "a"\ntoken_secret = "b"\n', "", False),
        ('[work]\ntoken_id = "a"\ntoken_secret = "b"\n', "work", True),
        ('[work]\nactive = true\ntoken_id = "a"\ntoken_secret = "b"\n[default]\n', "", True),
        ('[work]\ntoken_id = "a"\ntoken_secret = "b"\n', "other", False),
        ("token_id = 3\n", "", False),
    ],
)
def test_those_of_the_librarys_file(
    file: Path, monkeypatch: pytest.MonkeyPatch, content: str, profile: str, there: bool
) -> None:
    file.write_text(content)
    if profile:
        monkeypatch.setenv("MODAL_PROFILE", profile)
    assert credentials.found() == (f"{file} has credentials for Modal" if there else None)


def test_a_backend_without_credentials_is_one_line() -> None:
    with pytest.raises(
        UsageError, match="needs an account's credentials: run `modal token new`, or set MODAL_TOKEN_ID"
    ):
        ModalBackend()


def test_looking_loads_no_client_library() -> None:
    ask = (
        "import sys; from cooperbench.eval.backends import default_backend; default_backend();"
        "from cooperbench.eval.backends.modal import ModalBackend; ModalBackend(client=object());"
        "print('modal' in sys.modules, 'grpclib' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", ask], capture_output=True, text=True, check=True)
    assert done.stdout == "False False\n"


# -------------------------------------------------------------------------------------------- wishes and prices


def test_wishes_in_the_librarys_words() -> None:
    settings = config.settings({"cidr_allowlist": ["10.0.0.0/8"], "region": ["eu", "us"], "idle": 0})
    wishes = asked(SandboxSpec("i", 60, network="open"), settings)
    assert (wishes["outbound_cidr_allowlist"], wishes["outbound_domain_allowlist"]) == (["10.0.0.0/8"], None)
    assert (wishes["region"], wishes["idle_timeout"], wishes["runtime"]) == (["eu", "us"], None, None)
    closed = asked(SandboxSpec("i", 60, network="none"), settings)
    assert closed["block_network"] is True
    assert "outbound_cidr_allowlist" not in closed
    assert wishes["name"] != closed["name"]
    assert len(wishes["name"]) < 64


@pytest.mark.parametrize("timeout", [0, -1, 86401, float("nan"), float("inf")])
def test_a_lifetime_modal_does_not_have(timeout: float) -> None:
    with pytest.raises(SandboxStartError, match="lives at most 24 hours"):
        asked(SandboxSpec("i", timeout), config.Settings())


def test_a_price_says_where_it_is_from() -> None:
    price = prices.price(config.settings({"cpu": 1, "memory": 1024}))
    assert price.hourly == pytest.approx(3600 * (0.00003942 + 0.00000672))
    assert price.source == "Modal's list prices of June 2026 for 1 cores and 1 GiB"
