"""What code in an embedded sandbox can and cannot do, one case each; a program, so that any user can run it.

``python local_matrix.py RUNG STATE_DIRECTORY`` prints ``{case: null | what went wrong}``. It needs nothing but the
package and the standard library: `test_local` runs it as root and, from a readable copy, as an ordinary user.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import pathlib
import socket
import sys
import tarfile
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

from cooperbench.errors import BackendError, SandboxLost, SandboxStartError, SandboxTimeout
from cooperbench.eval.backends.base import Completed, SandboxSpec
from cooperbench.eval.backends.local import LocalBackend, LocalSandbox
from cooperbench.eval.backends.local.store import gc, imageconfig
from cooperbench.eval.backends.local.store.incoming import Incoming, install
from cooperbench.eval.backends.local.store.layers import Stream

MIB = 1 << 20
PATIENCE = 120
"""Seconds that nothing here takes unless it would take for ever, however busy the machine is."""

# Shell programs that must succeed inside. $RUNG is there for what one user id cannot give.
SHELL = {
    "sees only its own processes": '[ "$(ls /proc | grep -c "^[0-9]")" -lt 12 ]',
    "pid 1 cannot be killed or stopped": "kill -9 1; kill -STOP 1; kill -INT 1; kill -TERM 1; sleep 0.1; kill -0 1",
    "pid 1's memory and files are closed": "! cat /proc/1/mem 2>/dev/null && ! ls /proc/1/fd/ 2>/dev/null"
    " && ! cat /proc/1/environ 2>/dev/null && ! ls /proc/1/root/ 2>/dev/null",
    "pid 1's program is closed": "! cat /proc/1/exe >/dev/null 2>&1 && ! sh -c ': >>/proc/1/exe' 2>/dev/null",
    "cannot mount": "! mount -t tmpfs t /mnt 2>/dev/null && ! mount --bind /etc /mnt 2>/dev/null",
    "cannot unmount what hides": "! umount /proc/keys 2>/dev/null && ! umount /sys/kernel 2>/dev/null",
    "cannot make a user namespace": "! unshare -Ur true 2>/dev/null",
    "cannot make a mount namespace": "! unshare -m true 2>/dev/null",
    "cannot make devices": "! mknod /tmp/sda b 8 0 2>/dev/null && ! mknod /tmp/mem c 1 1 2>/dev/null",
    "cannot set sysctls": "! (echo x >/proc/sys/kernel/core_pattern) 2>/dev/null"
    " && ! (echo 1 >/proc/sys/kernel/panic) 2>/dev/null",
    "cannot write to sys": "! (echo 1 >/sys/power/state) 2>/dev/null && ! touch /sys/x 2>/dev/null",
    "cannot read the kernel's log": "! dmesg >/dev/null 2>&1 && [ ! -e /dev/kmsg ]",
    "no devices of the host": "! ls /dev/vda /dev/sda /dev/mem /dev/kmsg /dev/net /dev/fuse 2>/dev/null",
    "no control groups": "[ -z \"$(ls -A /sys/fs/cgroup 2>/dev/null)\" ]",
    "kernel internals hidden": '[ -z "$(cat /proc/kallsyms /proc/keys 2>/dev/null)" ] && [ -z "$(ls -A /sys/kernel)" ]',
    "no files of the host": '[ ! -e "$HOST_FILE" ] && [ -z "$(ls -A /home)" ] && [ -z "$(ls -A /tmp)" ]'
    ' && [ ! -e /var/run/docker.sock ] && [ ! -s /etc/machine-id ]',
    "no accounts of the host": '[ "$(cut -d: -f1 /etc/passwd | tr "\\n" " ")" = "root daemon bin www-data nobody " ]',
    "home is empty": '[ "$HOME" = /root ] && [ -z "$(ls -A /root)" ]',
    "host name": '[ "$(uname -n)" = sandbox ]',
    "loopback works": "python3 -c \"import socket;s=socket.create_server(('127.0.0.1',0));"
    'socket.create_connection(s.getsockname())"',
    "devices work": "echo a >/dev/null && [ \"$(head -c 4 /dev/urandom | wc -c)\" = 4 ] && [ -c /dev/full ]"
    ' && python3 -c "import os; os.openpty()"',
    "shared memory works": 'python3 -c "import multiprocessing as m; m.Semaphore(); m.Pool(2).map(abs, [1, 2])"',
    "threads and processes work": 'python3 -c "import threading as t, subprocess as s; x=t.Thread(target=print);'
    " x.start(); x.join(); s.run(['true'], check=True)\"",
    "may trace its own child": 'python3 -c "import ctypes,os\npid=os.fork()\n'
    'if pid==0: os._exit(0 if ctypes.CDLL(None).ptrace(0,0,0,0)==0 else 1)\nraise SystemExit(os.waitpid(pid,0)[1]>>8)"',
    "scheduling works": "nice -n 5 true",
    "files belong to root": "touch /root/f && [ \"$(stat -c %u:%g /root/f /etc/passwd | tr '\\n' ' ')\" = '0:0 0:0 ' ]",
    "changing owners works": "touch /tmp/o && chown 33:33 /tmp/o"
    ' && { [ "$RUNG" = user-single ] || [ "$(stat -c %u /tmp/o)" = 33 ]; }',
    "other users work": '[ "$RUNG" = user-single ] || [ "$(su -s /bin/sh nobody -c "id -u")" = 65534 ]',
    "set-user-id works": '[ "$RUNG" = user-single ] || { cp /usr/bin/id /usr/local/bin/sid'
    ' && chmod 4755 /usr/local/bin/sid && [ "$(su -s /bin/sh nobody -c "/usr/local/bin/sid -u")" = 0 ]; }',
    "git works": "mkdir -p /workspace/r && cd /workspace/r && git init -q . && git config user.email a@b"
    ' && git config user.name n && touch a && git add a && git commit -qm x && [ -z "$(git status --porcelain)" ]',
    "usr local can be written": "printf '#!/bin/sh\\necho ran' >/usr/local/bin/mine && chmod +x /usr/local/bin/mine"
    ' && [ "$(mine)" = ran ] && mkdir -p /usr/local/lib/mine /usr/local/share/mine /usr/local/etc/mine',
    "python finds what is installed": 'd=$(python3 -c "import sysconfig; v=sysconfig.get_python_version();'
    " print(f'/usr/local/lib/python{v}/dist-packages')\"); mkdir -p $d && echo x=1 >$d/cb_probe.py"
    ' && { python3 -c "import cb_probe" || [ ! -e /etc/debian_version ]; }',
    "virtual environments work": "python3 -m venv --without-pip /root/v && /root/v/bin/python -c pass"
    " || [ -e /etc/debian_version ]",
    "the host's programs cannot be changed": "! sh -c ': >>/usr/bin/python3' 2>/dev/null"
    " && ! rm /usr/bin/env 2>/dev/null",
    "limits of its own cannot be raised": "[ \"$(ulimit -Hc)\" = 0 ] && ! (ulimit -c unlimited) 2>/dev/null",
    "chroot does not lead out": "mkdir -p /tmp/c && cd / && python3 -c \"import os\nos.chroot('/tmp/c')\n"
    "for _ in range(50): os.chdir('..')\nos.chroot('.')\nassert 'workspace' in os.listdir('/'), os.listdir('/')\"",
    "certificates are the host's": '[ ! -e "$HOST_CERTIFICATES" ] || [ -s "$HOST_CERTIFICATES" ]',
}  # fmt: skip

# Python programs that must succeed inside.
PYTHON = {
    "kernel keys are closed": """
import ctypes, os
number = {"x86_64": 250, "aarch64": 219}[os.uname().machine]
libc = ctypes.CDLL(None, use_errno=True)
assert libc.syscall(number, 0, -3, 0) == -1 and ctypes.get_errno() == 1
""",
    "bpf, io_uring, userfaultfd, perf are closed": """
import ctypes, os
libc = ctypes.CDLL(None, use_errno=True)
for number in {"x86_64": (321, 425, 323, 298), "aarch64": (280, 425, 282, 241)}[os.uname().machine]:
    assert libc.syscall(number, 0, 0, 0) == -1 and ctypes.get_errno() == 1, number
""",
    "namespaces by clone are closed": """
import ctypes, os
number = {"x86_64": 56, "aarch64": 220}[os.uname().machine]
libc = ctypes.CDLL(None, use_errno=True)
for flag in (0x10000000, 0x20000, 0x40000000):
    assert libc.syscall(number, ctypes.c_ulong(flag | 17), 0, 0, 0, 0) == -1 and ctypes.get_errno() == 1
assert libc.syscall(435, 0, 0) == -1 and ctypes.get_errno() == 38
""",
    "odd sockets are closed": """
import socket
for family, kind, protocol in ((40, 1, 0), (17, 3, 3), (2, 3, 1), (38, 5, 0)):
    try:
        socket.socket(family, kind, protocol)
    except OSError:
        continue
    raise SystemExit(f"socket family {family} type {kind} is open")
""",
    "terminal injection is closed": """
import fcntl, os
_, tty = os.openpty()
for request in (0x5412, 0x541C):
    try:
        fcntl.ioctl(tty, request, b"x")
    except PermissionError:
        continue
    raise SystemExit("open")
""",
    "a command has three descriptors": """
import os
found = sorted(os.listdir("/proc/self/fd"), key=int)  # the listing itself needs one
assert found == ["0", "1", "2", "3"], found
""",
    "no capability beyond the engines' usual": """
held = [line.split()[1] for line in open("/proc/self/status") if line.startswith(("CapPrm", "CapEff", "CapBnd"))]
usual = sum(1 << bit for bit in (0, 1, 3, 4, 5, 6, 7, 8, 10, 18, 29, 31))
assert all(int(mask, 16) & ~usual == 0 for mask in held), held
""",
    "the filter is in force": """
assert "Seccomp:\\t2" in open("/proc/self/status").read()
""",
    "its tag cannot be changed": """
import resource
soft, hard = resource.getrlimit(10)
for new in (hard + 1, hard, 5):
    try:
        resource.setrlimit(10, (new, new))
    except (OSError, ValueError):
        continue
    raise SystemExit(f"changed to {new}")
resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
""",
    "no network but its own": """
import os, socket
assert [name for _, name in socket.if_nameindex()] == ["lo"], socket.if_nameindex()
try:
    socket.create_connection(("192.0.2.1", 80), 1)
except OSError:
    pass
else:
    raise SystemExit("connected")
""",
}

CASES: dict[str, Callable[[Matrix], None]] = {}


def case(function: Callable[[Matrix], None]) -> Callable[[Matrix], None]:
    """Enter a case under its own name."""
    CASES[function.__name__.replace("_", " ")] = function
    return function


SKIPPED = "skipped: "


class Impossible(Exception):
    """The case cannot be looked at here; says why."""


class Matrix:
    """What the cases work on."""

    def __init__(self, rung: str, state: str) -> None:
        self.rung, self.state = rung, state
        self.backend = LocalBackend(rung=rung, state_dir=state)
        self.box = self.backend.create_sandbox("host")
        self.host_file = os.path.join(state, "a-file-of-the-host")
        with open(self.host_file, "w", encoding="ascii") as file:
            file.write("secret")

    @contextlib.contextmanager
    def fresh(self, **settings: Any) -> Iterator[LocalSandbox]:
        """A sandbox of a backend with other settings."""
        backend = LocalBackend(rung=self.rung, state_dir=self.state, **settings)
        try:
            yield backend.create_sandbox("host")
        finally:
            backend.close()

    def run_all(self) -> dict[str, str | None]:
        """Every case's outcome."""
        env = {
            "RUNG": self.rung,
            "HOST_FILE": self.host_file,
            "HOST_CERTIFICATES": "/etc/ssl/certs/ca-certificates.crt",
        }
        outcomes: dict[str, str | None] = {}
        for name, program in SHELL.items():
            outcomes[name] = _complaint(self.box.run(["bash", "-c", program], timeout=PATIENCE, env=env))
        for name, program in PYTHON.items():
            outcomes[name] = _complaint(self.box.run(["python3", "-c", program], timeout=PATIENCE, env=env))
        for name, function in CASES.items():
            try:
                function(self)
                outcomes[name] = None
            except Impossible as reason:
                outcomes[name] = f"{SKIPPED}{reason}"
            except Exception as error:
                outcomes[name] = f"{type(error).__name__}: {error}"
        return outcomes


def _complaint(done: Completed) -> str | None:
    if done.returncode == 0:
        return None
    return f"exit {done.returncode}: {done.stdout_read()[-300:]} {done.stderr_read()[-500:]}"


def names() -> list[str]:
    """Every case there is."""
    return [*SHELL, *PYTHON, *CASES]


def sh(sandbox: LocalSandbox, program: str, **options: Any) -> Completed:
    """Run a shell program inside."""
    return sandbox.run(["bash", "-c", program], **options)


def commands(sandbox: LocalSandbox) -> str:
    """Command lines of all that runs inside."""
    return sh(sandbox, "cat /proc/[0-9]*/cmdline 2>/dev/null | tr '\\0' ' '").stdout_read()


# ---------------------------------------------------------------------------------------------- commands


@case
def every_exit_code_is_told(matrix: Matrix) -> None:
    codes = (0, 1, 2, 77, 124, 126, 127, 128, 255)
    assert tuple(sh(matrix.box, f"exit {code}").returncode for code in codes) == codes
    signals = (1, 2, 6, 9, 11, 13, 15)
    told = [sh(matrix.box, f"kill -{number} $$; sleep 1").returncode for number in signals]
    assert told == [128 + number for number in signals], told


@case
def what_cannot_start_says_why(matrix: Matrix) -> None:
    missing, directory = matrix.box.exec("no-such-program"), matrix.box.exec("/etc")
    forbidden, lost = matrix.box.exec("/etc/passwd"), matrix.box.run(["true"], cwd="/no/such/place")
    codes = [done.returncode for done in (missing, directory, forbidden, lost)]
    assert codes == [127, 126, 126, 127], codes
    assert "no-such-program" in missing.stderr_read()
    assert "/no/such/place" in lost.stderr_read()


@case
def long_arguments_arrive(matrix: Matrix) -> None:
    many = matrix.box.exec("bash", "-c", "echo -n $#", "a", *["b" * 1000] * 1500)
    assert many.stdout == b"1500", many
    assert sh(matrix.box, 'printf %s "$X" | wc -c', env={"X": "z" * 100_000}).stdout.strip() == b"100000"
    one = matrix.box.exec("true", "x" * 200_000)  # the kernel's own limit on one argument
    assert one.returncode == 126, one
    assert matrix.box.exec("true").returncode == 0


@case
def fifty_megabytes_on_both_streams(matrix: Matrix) -> None:
    done = sh(
        matrix.box, "head -c 52428800 /dev/zero; echo end; head -c 52428800 /dev/zero >&2; echo end >&2"
    )
    assert done.truncated
    for stream in (done.stdout, done.stderr):
        head, _, kept = stream.partition(b"\n")
        assert b"52428804" in head, head
        assert len(kept) == 16 * MIB
        assert kept.endswith(b"end\n")


@case
def standard_input(matrix: Matrix) -> None:
    blob = bytes(range(256)) * 20_000
    assert matrix.box.run(["cat"], stdin=blob).stdout == blob
    assert matrix.box.run(["cat"], timeout=PATIENCE).returncode == 0
    assert matrix.box.run(["head", "-c", "1"], stdin=b"y" * 3_000_000).stdout == b"y"


@case
def a_time_limit_ends_the_whole_tree(matrix: Matrix) -> None:
    program = (
        'trap "" TERM INT HUP; (setsid nohup sleep 3001 >/dev/null 2>&1 &);'
        'python3 -c "import os,time\nif os.fork()==0:\n  os.setsid()\n  if os.fork()==0:\n    os.setsid();'
        ' os.closerange(0,3); time.sleep(3002)\n  os._exit(0)"; echo partial; sleep 3003'
    )
    for limit in (1, 5, 25):  # the machine may be slow
        done = sh(matrix.box, program, timeout=limit)
        if done.stdout:
            break
    assert (done.returncode, done.timed_out, done.stdout) == (124, True, b"partial\n"), done
    left = commands(matrix.box)
    assert "sleep 300" not in left, left
    assert "time.sleep(3002)" not in left, left


@case
def a_time_limit_spares_the_others(matrix: Matrix) -> None:
    assert sh(matrix.box, "(setsid sleep 4001 >/dev/null 2>&1 &)", timeout=PATIENCE).returncode == 0
    assert sh(matrix.box, "sleep 4002", timeout=0.3).timed_out
    assert "sleep 4001" in commands(matrix.box)
    sh(matrix.box, "pkill -f 'sleep 4001' || kill -9 -1")


@case
def a_background_child_does_not_hold_us(matrix: Matrix) -> None:
    quiet = sh(matrix.box, "sleep 600 & echo hi", timeout=PATIENCE)
    assert (quiet.stdout, quiet.timed_out) == (b"hi\n", False)
    noisy = sh(matrix.box, "(while :; do echo x; done) & echo hi", timeout=PATIENCE)
    assert b"hi\n" in noisy.stdout
    assert not noisy.timed_out
    sh(matrix.box, "kill -9 -1")


@case
def many_commands_at_once(matrix: Matrix) -> None:
    outputs: list[bytes] = []
    # Each waits for all the others: one after the other, they would never end.
    meet = "mkdir -p /tmp/met; touch /tmp/met/$0; until [ $(ls /tmp/met | wc -l) = 20 ]; do sleep 0.1; done; echo $0"

    def one(number: int) -> None:
        outputs.append(matrix.box.run(["bash", "-c", meet, str(number)], timeout=PATIENCE).stdout)

    threads = [threading.Thread(target=one, args=(number,)) for number in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(map(int, outputs)) == list(range(20))


# ---------------------------------------------------------------------------------------------- files


def archive(files: dict[str, bytes]) -> bytes:
    """A tar of files by relative name; a value that begins with ``->`` is a symbolic link's target."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            if content.startswith(b"->"):
                member.type, member.linkname = tarfile.SYMTYPE, content[2:].decode()
                tar.addfile(member)
            else:
                member.size = len(content)
                tar.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


@case
def files_go_in_and_out(matrix: Matrix) -> None:
    blob = os.urandom(MIB)
    matrix.box.put_archive("/srv/x", archive({"deep/blob": blob, "deep/sub/other": b"1"}))
    with tarfile.open(fileobj=io.BytesIO(matrix.box.get_archive("/srv/x/deep", 2 * MIB))) as tar:
        assert tar.getnames() == ["blob"]
        member = tar.extractfile("blob")
        assert member is not None
        assert member.read() == blob


@case
def a_few_small_files_start_no_process(matrix: Matrix) -> None:
    """Process ids are given in order; a link among the files is not for PID 1 to handle."""
    box = matrix.backend.create_sandbox("host")
    before = int(sh(box, "echo $$").stdout)
    box.put_archive("/srv/few", archive({"one": os.urandom(MIB), "deep/two": b"2"}))
    box.get_archive("/srv/few", 2 * MIB)
    between = int(sh(box, "echo $$").stdout)
    box.put_archive("/srv/few", archive({"one": b"1", "link": b"->one"}))
    after = int(sh(box, "echo $$").stdout)
    box.terminate()
    assert between == before + 1, (before, between)
    assert after == between + 2, (between, after)


@case
def a_link_does_not_lead_writes_or_reads_out(matrix: Matrix) -> None:
    sh(matrix.box, "mkdir /srv/l && ln -s /etc/passwd /srv/l/f && ln -s /proc/1/root/etc /srv/l/d")
    matrix.box.put_archive("/srv/l", archive({"f": b"new"}))
    assert sh(matrix.box, "cat /srv/l/f; head -c 4 /etc/passwd").stdout == b"newroot"
    sh(matrix.box, f"ln -s {matrix.host_file} /srv/l/h; mkfifo /srv/l/p; ln -s /dev/zero /srv/l/z")
    with tarfile.open(fileobj=io.BytesIO(matrix.box.get_archive("/srv/l", MIB))) as tar:
        assert tar.getnames() == ["f"]
    try:
        matrix.box.put_archive("/srv/l", archive({"../../escape": b"x"}))
    except BackendError:
        return
    raise AssertionError("an archive that leaves its directory was taken")


@case
def a_flood_of_files_is_refused(matrix: Matrix) -> None:
    sh(
        matrix.box,
        "mkdir /srv/flood && head -c 3000000 /dev/zero >/srv/flood/big; truncate -s 9T /srv/flood/sparse",
    )
    for directory in ("/srv/flood", "/srv/nowhere", "/etc/passwd"):
        try:
            matrix.box.get_archive(directory, 1_000_000)
        except SandboxLost:
            raise
        except BackendError:
            continue
        raise AssertionError(f"{directory} was given")


# ---------------------------------------------------------------------------------------------- images


@case
def an_imported_image_is_whole(matrix: Matrix) -> None:
    """Whiteouts, opaque directories, owners, hard links and set-user-id of layers, on this rung's ids."""
    engine = matrix.backend.engine()
    busybox = pathlib.Path("/bin/busybox")
    if not busybox.exists():
        raise Impossible("needs /bin/busybox (package busybox-static)")
    first = layer(
        {"bin/sh": (busybox.read_bytes(), 0o4755, 0), "d/gone": (b"1", 0o600, 7), "o/old": (b"2", 0o644, 0)}
    )
    second = layer({"d/.wh.gone": (b"", 0, 0), "o/.wh..wh..opq": (b"", 0, 0), "o/new": (b"3", 0o640, 33)})
    diff_ids = ["sha256:" + hashlib.sha256(content).hexdigest() for content in (first, second)]
    streams = tuple(
        Stream(diff_id, lambda content=content: iter([content]), 0)  # type: ignore[misc]
        for diff_id, content in zip(diff_ids, (first, second), strict=True)
    )
    config = imageconfig.make(diff_ids, "matrix", {"Env": ["A=b"], "User": "33:7", "WorkingDir": "/d"})
    install(engine.images, engine.unpacker, Incoming("matrix", config, streams), ("matrix:1",))
    sandbox = matrix.backend.create_sandbox("matrix:1", workdir="")
    script = "ls /d /o; pwd; echo $A; stat -c '%a %u' /bin/sh /o/new; id -u"
    done = sandbox.exec("/bin/sh", "-c", f'busybox() {{ /bin/sh "$@"; }}; {script}')
    if matrix.rung != "user-single":
        assert done.stdout == b"/d:\n\n/o:\nnew\n/d\nb\n4755 0\n640 33\n33\n", done
    else:
        assert done.stdout == b"/d:\n\n/o:\nnew\n/d\nb\n4755 0\n640 0\n0\n", done
    sandbox.terminate()
    (line,) = gc.remove(engine.state, engine.claims, str(engine.images.digest("matrix:1")))[:1]
    assert "matrix:1" in line
    assert engine.images.digest("matrix:1") is None


def layer(members: dict[str, tuple[bytes, int, int]]) -> bytes:
    """A layer's archive: name → content, mode, owner."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name, (content, mode, owner) in members.items():
            member = tarfile.TarInfo(name)
            member.size, member.mode, member.uid = len(content), mode, owner
            tar.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


# ---------------------------------------------------------------------------------------------- limits


@case
def a_fork_bomb_is_contained(matrix: Matrix) -> None:
    with matrix.fresh(processes=120) as sandbox:
        done = sh(sandbox, ":(){ :|:& };:; sleep 30", timeout=2)
        assert done.timed_out
        assert sh(matrix.box, "true").returncode == 0
        assert int(sh(sandbox, "ls /proc | grep -c '^[0-9]'", timeout=PATIENCE).stdout) < 15


@case
def processes_of_many_users_are_counted_together(matrix: Matrix) -> None:
    program = """
import os, time
count = 0
for uid in range(1, 400):
    try:
        if os.fork() == 0:
            os.setuid(uid)
            time.sleep(600)
            os._exit(0)
        count += 1
    except BlockingIOError:
        break
print(count, flush=True)
os.kill(-1, 9)
"""
    with matrix.fresh(processes=100) as sandbox:
        count = int(sandbox.run(["python3", "-c", program], timeout=PATIENCE).stdout)
        assert count < 100, count


@case
def memory_is_bounded_for_one_and_for_all(matrix: Matrix) -> None:
    with matrix.fresh(memory=300 * MIB) as sandbox:
        one = sandbox.run(["python3", "-c", "x=[]\nwhile 1: x.append(b'a'*(1<<24))"], timeout=PATIENCE)
        assert one.returncode == 137, one
        assert "more memory" in one.stderr_read(), one
        # Three that are too much together, and stay until the first of them is killed.
        stay = "x = b'a' * (150 << 20)\nwhile not os.path.exists('/tmp/over'): time.sleep(0.1)"
        each = f'python3 -c "import os, time; {stay}" &'
        all_of_them = sh(
            sandbox, f"{each} {each} {each} wait -n; echo $?; touch /tmp/over; wait", timeout=PATIENCE
        )
        assert int(all_of_them.stdout) == 137, all_of_them
        assert sh(sandbox, "true").returncode == 0


@case
def memory_on_tmpfs_and_disk_are_bounded(matrix: Matrix) -> None:
    with matrix.fresh(upper="tmpfs:50m", shared_memory=MIB, file_size=20 * MIB) as sandbox:
        full = "for i in 1 2 3 4; do head -c 18M /dev/zero >/root/$i || echo full; done; rm /root/?; echo x >/root/ok"
        done = sh(sandbox, full, timeout=PATIENCE)
        assert b"full" in done.stdout, done
        assert sh(sandbox, "cat /root/ok").stdout == b"x\n"
        assert sh(sandbox, "head -c 2M /dev/zero >/dev/shm/x").returncode != 0
        assert sh(sandbox, "head -c 30M /dev/zero >/root/one").returncode != 0


@case
def a_full_disk_ends_commands(matrix: Matrix) -> None:
    with matrix.fresh(disk_reserve=1 << 60) as sandbox:
        done = sh(sandbox, "sleep 600", timeout=PATIENCE)
        assert done.returncode == 137, done
        assert "disk" in done.stderr_read()


# ---------------------------------------------------------------------------------------------- ends


@case
def the_lifetime_ends_everything(matrix: Matrix) -> None:
    sandbox = matrix.backend.create_sandbox("host", timeout=1)
    for program in (f"trap '' TERM; sleep {PATIENCE}", "true"):
        try:
            sh(sandbox, program)
        except SandboxTimeout:
            continue
        raise AssertionError(f"{program}: it ended by itself")


@case
def terminate_frees_waiting_commands(matrix: Matrix) -> None:
    sandbox = matrix.backend.create_sandbox("host")
    ends: list[str] = []

    def wait() -> None:
        try:
            sandbox.exec("sleep", "600")
        except SandboxLost as error:
            ends.append(type(error).__name__)

    threads = [threading.Thread(target=wait) for _ in range(5)]
    for thread in threads:
        thread.start()
    time.sleep(0.2)
    enders = [threading.Thread(target=sandbox.terminate) for _ in range(5)]
    for thread in enders:
        thread.start()
    for thread in (*threads, *enders):
        thread.join(PATIENCE)
    assert ends == ["SandboxLost"] * 5, ends


@case
def a_thread_that_ends_takes_nothing_with_it(matrix: Matrix) -> None:
    made: list[LocalSandbox] = []
    thread = threading.Thread(target=lambda: made.append(matrix.backend.create_sandbox("host")))
    thread.start()
    thread.join()
    time.sleep(0.1)
    assert made[0].exec("true").returncode == 0
    made[0].terminate()


@case
def a_dead_zygote_is_replaced(matrix: Matrix) -> None:
    backend = LocalBackend(rung=matrix.rung, state_dir=matrix.state)
    before = backend.create_sandbox("host")
    engine = backend._engine
    assert engine is not None
    engine.launcher._process.kill()
    engine.launcher._process.wait()
    assert before.exec("true").returncode == 0
    after = backend.create_sandbox("host")
    assert after.exec("true").returncode == 0
    backend.close()


@case
def a_forked_copy_has_its_own(matrix: Matrix) -> None:
    pid = os.fork()
    if pid == 0:
        code = 1
        with contextlib.suppress(BaseException):
            sandbox = matrix.backend.create_sandbox("host")
            code = sandbox.exec("true").returncode
            matrix.backend.close()
        os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    assert matrix.box.exec("true").returncode == 0
    assert matrix.backend.create_sandbox("host").exec("true").returncode == 0


# ---------------------------------------------------------------------------------------------- network


@case
def open_network_does_not_reach_the_host(matrix: Matrix) -> None:
    try:
        sandbox = matrix.backend.create(SandboxSpec("host", 600, network="open"))
    except SandboxStartError as error:
        if "needs slirp4netns" in str(error) or "needs /dev/net/tun" in str(error):
            raise Impossible(str(error)) from error
        raise
    with socket.create_server(("0.0.0.0", 0)) as server:
        port = server.getsockname()[1]
        places = [
            "127.0.0.1",
            "10.0.2.2",
            "169.254.169.254",
            "10.1.2.3",
            "192.168.1.1",
            "172.17.0.1",
            *_own_addresses(),
        ]
        program = """
import socket, sys
print([name for _, name in socket.if_nameindex()])
for place in sys.argv[2:]:
    try:
        socket.create_connection((place, int(sys.argv[1])), 1)
    except OSError:
        continue
    raise SystemExit(f"reached {place}")
"""
        done = sandbox.run(["python3", "-c", program, str(port), *places], timeout=PATIENCE)
    assert done.returncode == 0, done
    assert "tap0" in done.stdout_read(), done
    lifted = sh(sandbox, "ip route del prohibit 10.0.0.0/8 || ip link add dummy0 type dummy")
    assert lifted.returncode != 0, lifted
    sandbox.terminate()


def _own_addresses() -> list[str]:
    with contextlib.suppress(OSError), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect(("192.0.2.9", 9))
        return [probe.getsockname()[0]]
    return []


@case
def host_network_only_on_request(matrix: Matrix) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        reach = ["python3", "-c", f"import socket; socket.create_connection(('127.0.0.1', {port}), 2)"]
        assert matrix.box.run(reach).returncode != 0
        sandbox = matrix.backend.create(SandboxSpec("host", 600, network="host"))
        assert sandbox.run(reach).returncode == 0
        sandbox.terminate()


@case
def abstract_sockets_of_the_host_are_out_of_reach(matrix: Matrix) -> None:
    name = f"cooperbench-{os.getpid()}"
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(f"\0{name}")
        server.listen()
        program = f"import socket; s=socket.socket(socket.AF_UNIX); s.connect(chr(0)+{name!r})"
        assert matrix.box.run(["python3", "-c", program]).returncode != 0


def main(rung: str, state: str) -> None:
    """Run everything; print the outcomes."""
    matrix = Matrix(rung, state)
    try:
        outcomes = matrix.run_all()
        outcomes["nothing is left"] = None
        matrix.backend.close()
        with open("/proc/self/mounts", encoding="utf-8") as file:
            if state in file.read():
                outcomes["nothing is left"] = "a mount in the host's namespace"
    finally:
        matrix.backend.close()
    print(json.dumps(outcomes))


if __name__ == "__main__":
    main(*sys.argv[1:])
