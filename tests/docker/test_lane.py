"""The agent inside: whatever shell an image has, whatever is done to it, commands keep their meaning."""

from __future__ import annotations

import shutil
import subprocess
import threading

import pytest

from cooperbench.eval.backends.docker import DockerBackend, DockerSandbox
from tests.docker import engines
from tests.docker.conftest import Make

SHELLS = {
    "dash": "ln -sf dash /bin/sh",
    "bash": "ln -sf bash /bin/sh",
    "busybox": "ln -sf /busybox /bin/sh",
}


@pytest.fixture(params=SHELLS)
def any_shell(request: pytest.FixtureRequest, backend: DockerBackend, make: Make) -> DockerSandbox:
    """A sandbox of an image with this shell as its /bin/sh."""
    image = f"cooperbench-test/shell:{request.param}"
    script = SHELLS[request.param]
    if request.param == "busybox":
        engines.make_image(backend, image, {"build.sh": f"{_busybox()}\n{script}\n"})
    else:
        engines.make_image(backend, image, {"build.sh": f"{script}\n"})
    return make(image)


def _busybox() -> str:
    """A script that makes /busybox, of this machine's busybox and what it is linked to."""
    import base64

    program = shutil.which("busybox")
    if program is None:
        engines.missing("needs busybox: apt-get install busybox-static")
    linked = subprocess.run(["ldd", program], capture_output=True, text=True, check=False).stdout.split()
    files = {"/busybox": program} | {word: word for word in linked if word.startswith("/")}
    lines = []
    for path, source in files.items():
        with open(source, "rb") as file:
            text = base64.b64encode(file.read()).decode()
        lines.append(f"mkdir -p {path.rpartition('/')[0] or '/'}\n[ -e {path} ] || base64 -d >{path} <<'END'")
        lines.append(f"{text}\nEND\nchmod 755 {path}")
    return "\n".join(lines)


ODD = (
    "",
    " ",
    "é✓…Ł",
    "\x01\x02\x7f",
    "\udc80\udcff\udc81\udc88",
    "a\nb\n",
    "\n",
    "\\",
    "\\\\n",
    "'",
    '"\'"',
    "$(id)`id`",
    "-n",
    "*",
    "\t",
    "~",
    "a=b",
    "\r\n",
)


def test_arguments(any_shell: DockerSandbox) -> None:
    done = any_shell.exec("printf", "[%s]", *ODD)
    assert done.stdout == "".join(f"[{word}]" for word in ODD).encode("utf-8", "surrogateescape")


def test_every_byte_in_an_argument(any_shell: DockerSandbox) -> None:
    every = bytes(range(1, 256)).decode("utf-8", "surrogateescape")
    assert any_shell.exec("printf", "%s", every).stdout == bytes(range(1, 256))


def test_more_arguments_than_a_line_is_for(any_shell: DockerSandbox) -> None:
    words = [f"{i} '\n" * 50 for i in range(300)]
    assert any_shell.exec("printf", "%s", *words).stdout_read() == "".join(words)
    left = any_shell.exec("sh", "-c", "sleep 0.2; ls -a / | grep cooperbench")
    assert left.stdout == b""


def test_codes_and_signals(any_shell: DockerSandbox) -> None:
    for script, code in (("exit 0", 0), ("exit 255", 255), ("kill -9 $$", 137), ("kill -SEGV $$", 139)):
        done = any_shell.exec("sh", "-c", script)
        assert (done.returncode, done.stdout, done.stderr) == (code, b"", b"")


def test_signals_arrive_as_they_would_anywhere(any_shell: DockerSandbox) -> None:
    ask = "import signal; print([s.name for s in signal.Signals if signal.getsignal(s) == signal.SIG_IGN])"
    assert any_shell.exec("python3", "-c", ask).stdout_read() == "['SIGPIPE', 'SIGXFSZ']\n"
    assert any_shell.exec("sh", "-c", "kill -INT $$; echo no").returncode == 130


def test_time_limit_with_another_command_beside_it(any_shell: DockerSandbox) -> None:
    """What belongs to whom is told apart: the other command, its children and an old daemon live on."""
    any_shell.exec("sh", "-c", "(sleep 7001 >/dev/null 2>&1 &)")
    other_script = "sleep 7002 & touch /up; until [ -e /go ]; do sleep 0.1; done; kill $!; echo lived"
    beside: list[object] = []
    other = threading.Thread(target=lambda: beside.append(any_shell.exec("sh", "-c", other_script)))
    other.start()
    any_shell.exec("sh", "-c", "until [ -e /up ]; do sleep 0.1; done")
    tree = "(setsid sleep 7003 &); sleep 7004 & sh -c 'sleep 7005; true'; true"
    for limit in (1, 5, 25):  # the machine may be slow
        done = any_shell.run(["sh", "-c", f"echo so far; {tree}"], timeout=limit)
        if done.stdout:
            break
    assert (done.timed_out, done.returncode, done.stdout) == (True, 124, b"so far\n")
    seen = any_shell.exec("sh", "-c", "cat /proc/[0-9]*/cmdline | tr '\\0' '\\n' | grep '^700[1-5]$' | sort")
    assert seen.stdout_read().split() == ["7001", "7002"]
    any_shell.exec("touch", "/go")
    other.join()
    assert getattr(beside[0], "stdout", None) == b"lived\n"


def test_a_daemon_that_hides_is_found(sandbox: DockerSandbox) -> None:
    """Another session, no parent, an empty environment: alone in the sandbox, it can only be the command's."""
    hide = (
        "import os\n"
        "if os.fork(): os._exit(0)\n"
        "os.setsid()\n"
        "if os.fork(): os._exit(0)\n"
        "os.execve('/bin/sleep', ['sleep', '7100'], {})\n"
    )
    done = sandbox.run(["sh", "-c", 'python3 -c "$1"; sleep 7101', "sh", hide], timeout=1)
    assert done.timed_out
    assert (
        sandbox.exec("sh", "-c", "cat /proc/[0-9]*/cmdline | tr '\\0' ' ' | grep -c 'slee[p] 710'").stdout
        == b"0\n"
    )


def test_an_old_daemons_new_child_is_spared(sandbox: DockerSandbox) -> None:
    sandbox.exec("sh", "-c", "(while :; do sleep 0.3; touch /beat; done) >/dev/null 2>&1 &")
    assert sandbox.run(["sleep", "100"], timeout=1).timed_out
    sandbox.exec("rm", "-f", "/beat")
    beats = "n=0; until test -e /beat; do n=$((n + 1)); [ $n -lt 60 ] || exit 1; sleep 1; done"
    assert sandbox.exec("sh", "-c", beats).returncode == 0


def test_what_a_command_left_running_prints_into_no_other(sandbox: DockerSandbox) -> None:
    done = sandbox.exec("sh", "-c", "(sleep 0.5; while :; do echo late; sleep 0.1; done) & echo said")
    assert done.stdout == b"said\n"
    for _ in range(3):
        assert sandbox.exec("sh", "-c", "sleep 0.4; echo next").stdout == b"next\n"


def test_a_server_that_prints_for_ever_is_not_held_up(sandbox: DockerSandbox) -> None:
    serve = "import sys\nfor i in range(100):\n sys.stdout.write('x' * 100_000)\nopen('/served', 'w')\n"
    sandbox.exec("sh", "-c", 'python3 -c "$1" &', "sh", f"import time; time.sleep(0.5)\n{serve}")
    assert (
        sandbox.exec(
            "sh", "-c", "n=0; until test -e /served; do n=$((n + 1)); [ $n -lt 120 ] || exit 1; sleep 1; done"
        ).returncode
        == 0
    )


def test_killing_everything_inside_does_not_end_the_sandbox(sandbox: DockerSandbox) -> None:
    sandbox.exec("sh", "-c", "kill -9 -1; kill -9 1; kill -STOP 1; true")
    assert sandbox.exec("echo", "alive").stdout == b"alive\n"


def test_a_command_whose_own_lane_is_killed(sandbox: DockerSandbox) -> None:
    """In a second lane, for the first cannot be killed: it ends as a command that was killed, and the next one runs."""
    with sandbox.lane() as taken:
        assert sandbox.is_first(taken)
        done = sandbox.exec("sh", "-c", "echo before; kill -9 $PPID; sleep 0.2")
        assert (done.returncode, done.stdout) == (137, b"before\n")
        assert sandbox.exec("echo", "next").stdout == b"next\n"
        sandbox.spare(taken)


def test_no_zombies_are_left(sandbox: DockerSandbox) -> None:
    sandbox.exec("sh", "-c", "for i in 1 2 3 4 5; do (sleep 0.1 >/dev/null 2>&1 &); done; sleep 0.3")
    gone = "n=0; while grep -qs ') Z ' /proc/[0-9]*/stat; do n=$((n + 1)); [ $n -lt 300 ] || exit 1; sleep 0.1; done"
    assert sandbox.exec("sh", "-c", gone).returncode == 0


def test_a_bomb_is_ended(make: Make) -> None:
    """It fills the sandbox's limit of processes, so nothing can be started to kill it by."""
    with engines.docker(network="none", processes=128) as small:
        sandbox = make(by=small)
    bomb = "import os\nprint('lit', flush=True)\nwhile True:\n try:\n  os.fork()\n except OSError: pass\n"
    for limit in (4, 30):  # the machine may be slow
        done = sandbox.run(["sh", "-c", 'sleep 2.5; exec python3 -c "$1"', "sh", bomb], timeout=limit)
        if done.stdout:
            break
    assert (done.timed_out, done.stdout) == (True, b"lit\n")
    assert sandbox.exec("echo", "over").stdout == b"over\n"


def test_hundred_megabytes_on_both_streams(sandbox: DockerSandbox) -> None:
    done = sandbox.exec(
        "sh",
        "-c",
        "head -c 100000000 /dev/zero >&2 & head -c 100000000 /dev/zero; wait; echo end; echo end >&2",
    )
    assert done.truncated
    for stream in (done.stdout, done.stderr):
        assert stream.startswith(b"[cooperbench: ")
        assert stream.endswith(b"\0end\n")
        assert len(stream) < 17 << 20


def test_many_commands_at_once(sandbox: DockerSandbox) -> None:
    said: dict[int, bytes] = {}

    def say(number: int) -> None:
        for _ in range(5):
            said[number] = sandbox.exec("sh", "-c", f"echo {number}; sleep 0.05").stdout

    threads = [threading.Thread(target=say, args=(number,)) for number in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert said == {number: f"{number}\n".encode() for number in range(12)}
