"""Files and images, on their way in and out."""

from __future__ import annotations

import hashlib
import io
import os
import pathlib
import tarfile

from cooperbench.errors import BackendError, SandboxLost
from cooperbench.eval.backends.local.store import gc, imageconfig
from cooperbench.eval.backends.local.store.incoming import Incoming, install
from cooperbench.eval.backends.local.store.layers import Stream

from .frame import MIB, Impossible, Matrix, case, sh


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
