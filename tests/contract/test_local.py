"""The embedded sandbox: isolation on every rung, the contract, prepared directories, what it says of itself."""

from __future__ import annotations

import contextlib
import functools
import json
import os
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

import cooperbench
from cooperbench.errors import SandboxStartError, UsageError
from cooperbench.eval.backends.base import (
    ArchiveSandbox,
    Closable,
    CommandSandbox,
    Diagnosable,
    ImageBackend,
    SandboxSpec,
    SpecBackend,
    Sweeper,
)
from cooperbench.eval.backends.checks import CHECKS, Check, ConfiguredImage, Subject, examine
from cooperbench.eval.backends.local import LocalBackend
from cooperbench.eval.backends.local.engine import Extras
from tests.contract import become_user, local_matrix

RUNGS = ("root-range", "user-range", "user-single")
HERE = Path(__file__).parent


# ---------------------------------------------------------------------------------------------- isolation


@pytest.mark.parametrize("rung", RUNGS)
@pytest.mark.parametrize("case", local_matrix.names())
def test_isolation(rung: str, case: str) -> None:
    outcomes = _outcomes(rung)
    assert case in outcomes, "the case was not run"
    outcome = outcomes[case]
    if outcome is not None and outcome.startswith(local_matrix.SKIPPED):
        pytest.skip(outcome)
    assert outcome is None


@pytest.mark.parametrize("rung", RUNGS)
def test_nothing_is_left_by_the_matrix(rung: str) -> None:
    assert _outcomes(rung)["nothing is left"] is None


@functools.cache
def _outcomes(rung: str) -> dict[str, str | None]:
    home = Path(tempfile.mkdtemp(prefix="cb-matrix-"))
    try:
        done = subprocess.run(_command(rung, home), capture_output=True, text=True, check=False, timeout=560)
        assert done.returncode == 0, done.stderr
        outcomes = json.loads(done.stdout)
        assert isinstance(outcomes, dict)
        return outcomes
    finally:
        shutil.rmtree(home, ignore_errors=True)


def _command(rung: str, home: Path) -> list[str]:
    """How to run the matrix on this rung, as whoever can."""
    home.chmod(0o755)
    shutil.copytree(Path(cooperbench.__file__).parent, home / "cooperbench", ignore=_NO_CACHE)
    shutil.copytree(HERE / "local_matrix", home / "local_matrix", ignore=_NO_CACHE)
    program = ["-c", _PROGRAM, str(home), rung, str(home / "state")]
    if rung == "root-range":
        if os.geteuid() != 0:
            pytest.skip("needs root")
        return [sys.executable, *program]
    if rung == "user-range" and not shutil.which("newuidmap"):
        pytest.skip("needs newuidmap (package uidmap)")
    if os.geteuid() != 0:
        if rung == "user-range" and "user-range" not in _rungs_here():
            pytest.skip("needs a range for this user in /etc/subuid")
        return [sys.executable, *program]
    os.chown(home, become_user.UID, become_user.UID)
    return [
        sys.executable,
        str(HERE / "become_user.py"),
        "yes" if rung == "user-range" else "no",
        str(home),
        _python_for_everybody(),
        *program,
    ]


_PROGRAM = """
import sys
sys.path.insert(0, sys.argv[1])
from local_matrix import main
main(*sys.argv[2:])
"""
_NO_CACHE = shutil.ignore_patterns("__pycache__")


def _rungs_here() -> str:
    return " ".join(line for fine, line in LocalBackend(state_dir=tempfile.gettempdir()).diagnose() if fine)


def _python_for_everybody() -> str:
    """An interpreter an ordinary user may execute: ours may live in root's home."""
    for candidate in (sys.executable, "/usr/bin/python3", "/usr/local/bin/python3"):
        test = [candidate, "-I", "-c", "import sys; raise SystemExit(sys.version_info < (3, 11))"]
        try:
            if (
                subprocess.run(
                    test, user=become_user.UID, check=False, cwd="/", capture_output=True
                ).returncode
                == 0
            ):
                return candidate
        except OSError:
            continue
    pytest.skip("no Python of 3.11 or later that an ordinary user may execute")


# ---------------------------------------------------------------------------------------------- the shipped contract


def test_it_has_every_fast_road(backend: LocalBackend) -> None:
    for protocol in (SpecBackend, ImageBackend, Sweeper, Closable, Diagnosable):
        assert isinstance(backend, protocol)
    sandbox = backend.create_sandbox("host")
    for protocol in (CommandSandbox, ArchiveSandbox):
        assert isinstance(sandbox, protocol)
    sandbox.terminate()


@pytest.mark.parametrize("settings", [{"upper": "disk"}, {"upper": "tmpfs:256m"}], ids=["disk", "tmpfs"])
def test_contract(state: Path, settings: dict[str, str]) -> None:
    backend = LocalBackend(state_dir=state, **settings)
    try:
        subject = Subject(backend, "host", patience=9)
        # Those that count what the harness has open, or how long something takes, have it for themselves.
        together = [check for check in CHECKS if check.name not in ("nothing-left", "terminate")]
        with ThreadPoolExecutor(8) as pool:
            results = list(pool.map(lambda check: examine(check, subject), together))
        results += [examine(check, subject) for check in CHECKS if check not in together]
    finally:
        backend.close()
    assert [
        (result.name, result.message) for result in results if result.outcome not in ("kept", "skipped")
    ] == []


def test_environment_of_a_prepared_directory(backend: LocalBackend, busybox: Path) -> None:
    (busybox.parent / "root.json").write_text(json.dumps({"env": {"GREETING": "hello there"}}))
    configured = ConfiguredImage(f"dir:{busybox}", "GREETING", "hello there", "/entrypoint-ran")
    check = next(check for check in CHECKS if check.name == "image-config")
    assert _kept(check, Subject(backend, f"dir:{busybox}", configured=configured))


def _kept(check: Check, subject: Subject) -> bool:
    result = examine(check, subject)
    assert result.message == ""
    return result.outcome == "kept"


@pytest.fixture(name="busybox")
def _busybox(state: Path) -> Path:
    """A root file system of a few programs of the host and the libraries they need."""
    root = Path(tempfile.mkdtemp(dir=state)) / "root"
    for program in ("sh", "cat", "ls", "printenv", "true"):
        source = shutil.which(program)
        assert source
        _install(root, source, f"/bin/{program}")
        for line in subprocess.run(
            ["ldd", source], capture_output=True, text=True, check=True
        ).stdout.splitlines():
            library = next((word for word in line.split() if word.startswith("/")), None)
            if library:
                _install(root, library, library)
    (root / "base,with:odd\\name").mkdir()
    (root.parent).chmod(0o755)
    return root


def _install(root: Path, source: str, target: str) -> None:
    place = root / target[1:]
    place.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(os.path.realpath(source), place)


def test_prepared_directory(backend: LocalBackend, busybox: Path) -> None:
    sandbox = backend.create_sandbox(f"dir:{busybox}", workdir="/made/for/it")
    assert sandbox.exec(
        "sh", "-c", "pwd; [ ! -e /usr/bin/python3 ] && [ -c /dev/null ] && echo x >/made/file"
    ).stdout
    sandbox.terminate()
    assert not (busybox / "made").exists()
    odd = busybox.rename(busybox.with_name("a,b:c\\d"))
    sandbox = backend.create_sandbox(f"dir:{odd}")
    assert sandbox.exec("true").returncode == 0
    sandbox.terminate()


@pytest.mark.parametrize("image", ["nothing", "dir:relative", "dir:/no/such/directory", "sha256:00", ""])
def test_an_unknown_image_is_an_error_with_a_remedy(state: Path, image: str) -> None:
    backend = LocalBackend(state_dir=state, pull="never")
    with pytest.raises(SandboxStartError, match="dir:") as caught:
        backend.create_sandbox(image)
    assert "\n" not in str(caught.value)
    backend.close()


@pytest.mark.parametrize(
    "settings",
    [{"upper": "floppy"}, {"upper": "tmpfs:lots"}, {"memory": 0}, {"network": "lan"}, {"rung": "ladder"}],
    ids=str,
)
def test_settings_are_checked(settings: dict[str, object]) -> None:
    with pytest.raises(UsageError, match="local backend"):
        LocalBackend(**settings)


def test_a_full_disk_is_still_the_disk(state: Path) -> None:
    """Where sandboxes write is settled by one that a full disk does not end: it would be chance otherwise."""
    with contextlib.closing(LocalBackend(state_dir=state, disk_reserve=1 << 60)) as backend:
        engine = backend.engine()
        assert not engine.in_memory
        probing = engine.create(SandboxSpec("host"), engine.images.host(), Extras(build=True, probe=True))
        assert probing.run(["sleep", "1"]).returncode == 0
        probing.terminate()
        assert backend.create_sandbox("host").run(["sleep", "600"], timeout=300).returncode == 137


def test_diagnosis(state: Path) -> None:
    lines = LocalBackend(state_dir=state).diagnose()
    assert any(fine and "sandboxes work" in line for fine, line in lines)


def test_an_unusable_rung_says_why(state: Path) -> None:
    rung = "user-single" if os.geteuid() == 0 else "root-range"
    backend = LocalBackend(state_dir=state, rung=rung)
    with pytest.raises(SandboxStartError, match="no sandbox can be made here") as caught:
        backend.create_sandbox("host")
    assert "docker" in str(caught.value)
    assert "\n" not in str(caught.value)
