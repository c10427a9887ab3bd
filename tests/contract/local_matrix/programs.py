"""Programs that must succeed inside an embedded sandbox, by what they show."""

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
