"""The embedded sandbox: isolation on every rung, images by recipe, many at once, and what is left when things die."""

from __future__ import annotations

import contextlib
import functools
import gc
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest

import cooperbench
from cooperbench.errors import SandboxLost, SandboxStartError, UsageError
from cooperbench.eval.backends.base import (
    ArchiveSandbox,
    Closable,
    CommandSandbox,
    Diagnosable,
    ImageBackend,
    Recipe,
    SandboxSpec,
    SpecBackend,
    Sweeper,
)
from cooperbench.eval.backends.checks import CHECKS, Check, ConfiguredImage, Subject, examine
from cooperbench.eval.backends.local import LocalBackend, LocalSandbox
from tests.contract import become_user, local_matrix

RUNGS = ("root-range", "user-range", "user-single")
HERE = Path(__file__).parent


@pytest.fixture(scope="module", name="state")
def _state() -> Iterator[Path]:
    path = Path(tempfile.mkdtemp(prefix="cb-local-"))
    path.chmod(0o711)
    yield path
    shutil.rmtree(path, ignore_errors=True)


@pytest.fixture(scope="module", name="backend")
def _backend(state: Path) -> Iterator[LocalBackend]:
    backend = LocalBackend(state_dir=state)
    yield backend
    backend.close()


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
    shutil.copy(HERE / "local_matrix.py", home)
    if rung == "root-range":
        if os.geteuid() != 0:
            pytest.skip("needs root")
        return [sys.executable, str(home / "local_matrix.py"), rung, str(home / "state")]
    if rung == "user-range" and not shutil.which("newuidmap"):
        pytest.skip("needs newuidmap (package uidmap)")
    if os.geteuid() != 0:
        if rung == "user-range" and "user-range" not in _rungs_here():
            pytest.skip("needs a range for this user in /etc/subuid")
        return [sys.executable, str(home / "local_matrix.py"), rung, str(home / "state")]
    os.chown(home, become_user.UID, become_user.UID)
    script = [_python_for_everybody(), str(home / "local_matrix.py"), rung, str(home / "state")]
    return [
        sys.executable,
        str(HERE / "become_user.py"),
        "yes" if rung == "user-range" else "no",
        str(home),
        *script,
    ]


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


# ---------------------------------------------------------------------------------------------- recipes


@pytest.fixture(name="context")
def _context(tmp_path: Path) -> Path:
    (tmp_path / "build.sh").write_text(
        "cp /build/deep/payload /srv/payload\n"
        "printf '#!/bin/sh\\necho runner' >/usr/local/bin/runner.sh\nchmod 755 /usr/local/bin/runner.sh\n"
        "echo no >/tmp/junk\necho no >/run/junk\nrm -r /media\nmkdir /media /usr/local/share/ours\n"
        "git init -q /workspace/repo\n"
    )
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "payload").write_bytes(b"\0payload")
    return tmp_path


def test_recipe(backend: LocalBackend, context: Path) -> None:
    recipe = Recipe("host", context, "build.sh")
    digest = backend.prepare_image("made/by:recipe", recipe)
    assert digest is not None
    assert digest.startswith("sha256:")
    assert backend.prepare_image("made/by:recipe", recipe) == digest
    assert backend.prepare_image("made/by:recipe", None) == digest
    for name in ("made/by:recipe", digest):
        sandbox = backend.create_sandbox(name, workdir="/workspace/repo")
        program = (
            "cat /srv/payload; runner.sh; git status --short; ls -A /tmp /run /media; ls -d /build;"
            "ls -d /usr/local/share/ours; stat -c %u /srv/payload"
        )
        done = sandbox.exec("sh", "-c", program)
        assert done.stdout == b"\0payloadrunner\n/media:\n\n/run:\n\n/tmp:\n/usr/local/share/ours\n0\n"
        assert b"/build" in done.stderr
        sandbox.terminate()


def test_layers_stack(backend: LocalBackend, context: Path) -> None:
    backend.prepare_image("base:1", Recipe("host", context, "build.sh"))
    (context / "more.sh").write_text(
        "echo more >>/srv/payload; rm /usr/local/bin/runner.sh; rm -r /usr/local/share/ours\n"
    )
    backend.prepare_image("top:1", Recipe("base:1", context, "more.sh"))
    sandbox = backend.create_sandbox("top:1")
    done = sandbox.exec(
        "sh",
        "-c",
        "cat /srv/payload; ls /usr/local/bin/runner.sh /usr/local/share/ours; ls -d /workspace/repo",
    )
    assert done.stdout == b"\0payloadmore\n/workspace/repo\n"
    sandbox.terminate()


def test_a_change_in_the_context_is_a_new_image(backend: LocalBackend, context: Path) -> None:
    recipe = Recipe("host", context, "build.sh")
    digests = {backend.prepare_image("changing", recipe)}
    (context / "deep" / "payload").write_bytes(b"other")
    digests.add(backend.prepare_image("changing", recipe))
    (context / "deep" / "payload").chmod(0o755)
    digests.add(backend.prepare_image("changing", recipe))
    assert len(digests) == 3


def test_a_failing_recipe_says_what_happened_and_leaves_no_image(
    backend: LocalBackend, context: Path
) -> None:
    (context / "bad.sh").write_text("echo fine\necho the disk is made of cheese >&2\nexit 3\n")
    with pytest.raises(SandboxStartError, match="exit code 3: the disk is made of cheese"):
        backend.prepare_image("bad", Recipe("host", context, "bad.sh"))
    with pytest.raises(SandboxStartError, match="'bad' is not here"):
        backend.create_sandbox("bad")
    with pytest.raises(SandboxStartError, match=r"no recipe script .*absent\.sh"):
        backend.prepare_image("bad", Recipe("host", context, "absent.sh"))


def test_an_unset_variable_ends_a_recipe(backend: LocalBackend, context: Path) -> None:
    (context / "bad.sh").write_text("echo $UNSET_THING\necho reached\n")
    with pytest.raises(SandboxStartError, match="UNSET_THING"):
        backend.prepare_image("bad", Recipe("host", context, "bad.sh"))


def test_one_build_for_all_who_want_it(backend: LocalBackend, context: Path, state: Path) -> None:
    (context / "slow.sh").write_text("sleep 0.3; date +%N >/srv/when\n")
    recipe = Recipe("host", context, "slow.sh")
    others = [LocalBackend(state_dir=state) for _ in range(2)]
    try:
        with ThreadPoolExecutor(6) as pool:
            digests = set(pool.map(lambda one: one.prepare_image("slow:1", recipe), [backend, *others] * 2))
        assert len(digests) == 1
        seen = set()
        for one in (backend, *others):
            sandbox = one.create_sandbox("slow:1")
            seen.add(sandbox.exec("cat", "/srv/when").stdout)
            sandbox.terminate()
        assert len(seen) == 1
    finally:
        for one in others:
            one.close()


def test_sweep_forgets_images_without_a_name(state: Path, context: Path) -> None:
    own = state / "own"
    own.mkdir(mode=0o711)
    backend = LocalBackend(state_dir=own)
    try:
        backend.prepare_image("changing", Recipe("host", context, "build.sh"))
        (context / "deep" / "payload").write_bytes(b"other")
        backend.prepare_image("changing", Recipe("host", context, "build.sh"))
        (image, layer) = backend.sweep()
        assert ("image sha256:" in image, "image layer" in layer) == (True, True)
        assert backend.sweep() == []
        sandbox = backend.create_sandbox("changing")
        assert sandbox.exec("cat", "/srv/payload").stdout == b"other"
        sandbox.terminate()
    finally:
        backend.close()


ON_AN_OVERLAY = """
import sys
from pathlib import Path
from cooperbench.eval.backends.base import Recipe
from cooperbench.eval.backends.local import LocalBackend
backend = LocalBackend(state_dir=sys.argv[1])
context = Path(sys.argv[2])
(context / "more.sh").write_text("rm -r /media /usr/local/bin/runner.sh; ln /srv/payload /srv/same")
backend.prepare_image("base:1", Recipe("host", context, "build.sh"))
backend.prepare_image("top:1", Recipe("base:1", context, "more.sh"))
sandbox = backend.create_sandbox("top:1")
look = "cat /srv/payload; stat -c %h /srv/same; ls -d /media /usr/local/bin/runner.sh /workspace/repo"
done = sandbox.exec("sh", "-c", look)
print(done.stdout, backend._engine.in_memory)
backend.close()
"""


def test_a_state_directory_on_an_overlay(state: Path, context: Path) -> None:
    """As inside a container: what sandboxes write goes to memory, and images are built all the same."""
    if os.geteuid() != 0:
        pytest.skip("needs root, to mount an overlay for the state directory")
    places = [state / name for name in ("lower", "upper", "work", "over")]
    for place in places:
        place.mkdir()
    mount = "mount -t overlay o -o lowerdir=$1,upperdir=$2,workdir=$3 $4 && shift 3 && python=$2 program=$3 context=$4"
    run = 'exec "$python" -c "$program" "$1" "$context"'
    arguments = [*map(str, places), sys.executable, ON_AN_OVERLAY, str(context)]
    command = ["unshare", "-m", "sh", "-c", f"{mount} && {run}", "sh", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=240)
    assert done.stdout == "b'\\x00payload2\\n/workspace/repo\\n' True\n", done.stderr


# ---------------------------------------------------------------------------------------------- many, and the end


def test_fifty_at_once(backend: LocalBackend) -> None:
    def one(number: int) -> bytes:
        sandbox = backend.create_sandbox("host")
        try:
            sandbox.exec("sh", "-c", f"echo {number} >/root/n")
            return sandbox.exec("cat", "/root/n").stdout
        finally:
            sandbox.terminate()

    with ThreadPoolExecutor(50) as pool:
        assert [int(out) for out in pool.map(one, range(50))] == list(range(50))


def test_no_descriptor_is_lost(backend: LocalBackend) -> None:
    backend.create_sandbox("host").terminate()
    gc.collect()  # what earlier tests have dropped
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(5):
        sandbox = backend.create_sandbox("host")
        sandbox.exec("true")
        sandbox.terminate()
    assert len(os.listdir("/proc/self/fd")) == before


def test_close_ends_everything_and_empties_the_disk(state: Path) -> None:
    own = state / "closing"
    own.mkdir(mode=0o711)
    backend = LocalBackend(state_dir=own)
    sandbox = backend.create_sandbox("host")
    sandbox.exec("sh", "-c", "head -c 1000000 /dev/zero >/root/x; mkdir -m 0 /root/closed")
    backend.close()
    with pytest.raises(SandboxLost):
        sandbox.exec("true")
    assert _left(own) == []
    again = backend.create_sandbox("host")
    assert again.exec("true").returncode == 0
    backend.close()


HARNESS = """
import os, sys, threading, time
from cooperbench.eval.backends.local import LocalBackend
ID = os.getpid()
HOSTILE = f'(setsid nohup sleep 7001.{ID} &); (trap "" HUP TERM; setsid sleep 7002.{ID} &)'
backend = LocalBackend(state_dir=sys.argv[1])
for _ in range(3):
    sandbox = backend.create_sandbox("host")
    sandbox.exec("bash", "-c", f"exec >/dev/null 2>&1; {HOSTILE}")
    threading.Thread(target=lambda: sandbox.exec("sleep", f"7003.{ID}"), daemon=True).start()
if "copy" in sys.argv and os.fork() == 0:
    time.sleep(600)
    os._exit(0)
print(backend._engine.launcher._process.pid, flush=True)
time.sleep(600)
"""


@pytest.mark.parametrize("variant", ["alone", "copy"])
@pytest.mark.parametrize("victims", ["harness", "harness and zygote"])
def test_kill_9_of_the_harness_leaves_nothing(state: Path, variant: str, victims: str) -> None:
    command = [sys.executable, "-c", HARNESS, str(state), variant]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True) as harness:
        assert harness.stdout
        zygote = int(harness.stdout.readline())
        up = time.monotonic() + 60
        while len(_sleepers(harness.pid)) < 9 and time.monotonic() < up:
            time.sleep(0.05)
        assert len(_sleepers(harness.pid)) == 9
        harness.kill()
        if "zygote" in victims:
            os.kill(zygote, signal.SIGKILL)
        killed = time.monotonic()
        while _sleepers(harness.pid) and time.monotonic() - killed < 60:
            time.sleep(0.01)
        assert _sleepers(harness.pid) == []
        assert str(state) not in Path("/proc/self/mounts").read_text()
        for copy in psutil.process_iter():  # the forked copy still holds the lock
            if copy.pid != harness.pid and _session(copy) == harness.pid:
                with contextlib.suppress(psutil.NoSuchProcess):
                    copy.kill()
    _collected(state, timeout=60)


def _session(process: psutil.Process) -> int:
    try:
        return os.getsid(process.pid)
    except OSError:
        return 0


def _sleepers(harness: int) -> list[int]:
    wanted = {f"sleep 700{number}.{harness}" for number in (1, 2, 3)}
    found = []
    for process in psutil.process_iter(["cmdline", "status"]):  # leaves out who ends meanwhile
        if (
            " ".join(process.info["cmdline"] or ()) in wanted
            and process.info["status"] != psutil.STATUS_ZOMBIE
        ):
            found.append(process.pid)
    return found


def _collected(state: Path, timeout: float) -> None:
    """The next start clears away what the dead left."""
    until = time.monotonic() + timeout
    while True:
        backend = LocalBackend(state_dir=state)
        backend.sweep()
        backend.close()
        if not _left(state) or time.monotonic() > until:
            break
        time.sleep(0.05)
    assert _left(state) == []


def _left(state: Path) -> list[str]:
    """Sandboxes' files, but those of live processes."""
    live = {path.name for path in state.glob("*/owners/*") if psutil.pid_exists(int(path.name.split("-")[0]))}
    run = [str(path) for path in state.glob("*/run/*/*") if path.parent.name not in live]
    return run + [str(path) for path in state.glob("*/trash/*")]


def test_ctrl_c_is_the_harness_s_to_interpret(state: Path) -> None:
    program = """
import os, signal, sys
from cooperbench.eval.backends.local import LocalBackend
backend = LocalBackend(state_dir=sys.argv[1])
sandbox = backend.create_sandbox("host")
signal.signal(signal.SIGINT, lambda *_: None)
os.killpg(0, signal.SIGINT)
print(sandbox.exec("echo", "alive").stdout_read(), backend.create_sandbox("host").exec("true").returncode)
backend.close()
"""
    command = [sys.executable, "-c", program, str(state)]
    done = subprocess.run(
        command, capture_output=True, text=True, start_new_session=True, check=False, timeout=240
    )
    assert done.stdout == "alive\n 0\n", done.stderr


def test_terminate_under_load_is_safe(backend: LocalBackend) -> None:
    """Create, use and terminate from many threads; nothing hangs, and no stranger's descriptor is closed."""
    wrong: list[str] = []

    def work() -> None:
        for _ in range(5):
            sandbox = backend.create_sandbox("host")
            ender = threading.Timer(0.01, sandbox.terminate)
            ender.start()
            try:
                while True:
                    if sandbox.exec("echo", "x").stdout != b"x\n":
                        wrong.append("output")
            except Exception as error:
                if type(error).__name__ != "SandboxLost":
                    wrong.append(repr(error))
            ender.join()

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(240)
        assert not thread.is_alive()
    assert wrong == []


def test_what_a_sandbox_says_of_itself(backend: LocalBackend) -> None:
    sandbox = backend.create(SandboxSpec("host", labels={"run": "r"}))
    assert isinstance(sandbox, LocalSandbox)
    assert "terminated" not in repr(sandbox)
    sandbox.terminate()
    assert "terminated" in repr(sandbox)
    with pytest.raises(ValueError, match="NUL"):
        backend.create_sandbox("host").exec("echo", "a\0b")
    with pytest.raises(ValueError, match="no program"):
        backend.create_sandbox("host").exec()
