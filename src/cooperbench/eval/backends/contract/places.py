"""The clauses on a sandbox as a place: its directory, its files, its configuration, its neighbours."""

from __future__ import annotations

import contextlib
import os
import threading

from cooperbench.errors import BackendError
from cooperbench.eval.backends import shell
from cooperbench.eval.backends.base import DEFAULT_WORKDIR
from cooperbench.eval.backends.contract.frame import (
    CheckFailed,
    CheckSkipped,
    Subject,
    clause,
    expect,
    expect_raises,
    running,
    says,
    sh,
)


@clause("workdir")
def _workdir(subject: Subject) -> None:
    """Commands start in `workdir`, which is made if it does not exist."""
    for path in (DEFAULT_WORKDIR, "/made/for this"):
        expect("pwd", says(subject.sandbox(workdir=path), "pwd"), f"{path}\n")


@clause("files-persist")
def _files_persist(subject: Subject) -> None:
    """What one command writes, the next one reads."""
    sandbox = subject.sandbox()
    says(sandbox, "echo kept >file; mkdir -p /var/tmp/deep; echo deep >/var/tmp/deep/file")
    expect("the files", says(sandbox, "cat file /var/tmp/deep/file"), "kept\ndeep\n")


@clause("state-does-not")
def _state_does_not(subject: Subject) -> None:
    """`cd`, variables and options of one command are not seen by the next."""
    sandbox = subject.sandbox()
    before = says(sandbox, "pwd; umask; echo ${LEAKED-unset}")
    says(sandbox, "cd /tmp; umask 077; export LEAKED=yes; set -f")
    expect("directory, umask, variable", says(sandbox, "pwd; umask; echo ${LEAKED-unset}"), before)


@clause("image-config")
def _image_config(subject: Subject) -> None:
    """The image's ENV is in force; its ENTRYPOINT is not run."""
    if subject.configured is None:
        raise CheckSkipped("needs an image with an ENV and an ENTRYPOINT")
    given = subject.configured
    sandbox = subject.sandbox(image=given.image)
    expect(given.variable, says(sandbox, 'printenv "$1"', given.variable), f"{given.value}\n")
    expect("did the ENTRYPOINT run", says(sandbox, '[ ! -e "$1" ] || echo yes', given.marker), "")


@clause("files-round-trip")
def _files_round_trip(subject: Subject) -> None:
    """Files of any bytes and names, 5 MB among them, arrive in the sandbox and come back unharmed."""
    files = {"big": os.urandom(5_000_000), "empty": b"", "a name\n-é": b"\0\r\n\xff", ".hidden": b"x"}
    sandbox = subject.sandbox()
    shell.put_files(sandbox, {f"/srv/given/deep/{name}": content for name, content in files.items()})
    got = shell.get_files(sandbox, "/srv/given/deep")
    expect("the files' names", sorted(got), sorted(files))
    for name, content in files.items():
        if got[name] != content:
            raise CheckFailed(
                f"{name!r}: expected the {len(content)} bytes put there, saw {len(got[name])} others"
            )


@clause("file-modes")
def _file_modes(subject: Subject) -> None:
    """Scripts and programs put into a sandbox can be run; directories that were there keep their modes."""
    sandbox = subject.sandbox()
    before = says(sandbox, "ls -ld /tmp | cut -c1-10")
    echo = b"#!/bin/sh\necho ran\n"
    shell.put_files(sandbox, {"/tmp/a.sh": echo, "/usr/local/bin/probe-it": echo, "/tmp/plain": echo})
    expect("what ran", says(sandbox, "/tmp/a.sh; probe-it; [ -x /tmp/plain ] || echo no"), "ran\nran\nno\n")
    expect("the mode of /tmp", says(sandbox, "ls -ld /tmp | cut -c1-10"), before)


@clause("plain-files-only")
def _plain_files_only(subject: Subject) -> None:
    """Links, pipes and directories among the files to bring back are passed over; a missing directory is told."""
    sandbox = subject.sandbox()
    says(sandbox, "mkdir -p /srv/d/sub; cd /srv/d; echo 1 >a; echo 2 >sub/b; ln -s /etc/passwd l; mkfifo p")
    expect("the files", shell.get_files(sandbox, "/srv/d"), {"a": b"1\n"})
    expect_raises("a missing directory", BackendError, lambda: shell.get_files(sandbox, "/srv/no"))
    says(sandbox, "head -c 300000 /dev/zero >/srv/d/big")
    expect_raises("too many bytes", BackendError, lambda: shell.get_files(sandbox, "/srv/d", limit=200_000))


@clause("concurrent")
def _concurrent(subject: Subject) -> None:
    """Commands of several threads run in one sandbox at the same time, each with its own output."""
    sandbox = subject.sandbox()
    said: dict[int, str] = {}
    # Each waits for all the others: if they ran one after the other, the first would wait in vain.
    script = """touch "met.$1"; n=0; while [ "$(ls met.* | wc -l)" -lt 4 ]; do
        n=$((n + 1)); [ $n -lt 20 ] || exit 1; sleep 1; done; echo "$1" """

    def meet(number: int) -> None:
        with contextlib.suppress(Exception):  # then it has said nothing
            said[number] = sh(sandbox, script, str(number)).stdout_read()

    threads = [threading.Thread(target=meet, args=(number,), daemon=True) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    expect("what each said", dict(sorted(said.items())), {number: f"{number}\n" for number in range(4)})


@clause("apart")
def _apart(subject: Subject) -> None:
    """Two sandboxes see neither each other's files nor each other's processes."""
    one, other = subject.sandbox(), subject.sandbox()
    says(one, "echo mine >/tmp/mine; echo mine >mine; sleep 86420 >/dev/null 2>&1 &")
    expect("the other's files", says(other, "ls /tmp/mine mine 2>/dev/null || true"), "")
    expect("the other's processes", running(other, "slee[p] 86420"), "")
    expect("one's own files", says(one, "cat /tmp/mine mine"), "mine\nmine\n")
