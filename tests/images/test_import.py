"""Images imported from what engines save, layouts and directories: the same files, the configuration honoured."""

from __future__ import annotations

import gzip
import io
import json
import os
import tarfile
from pathlib import Path

import pytest

from cooperbench.errors import SandboxStartError, UsageError
from cooperbench.eval.backends.base import SandboxSpec
from cooperbench.eval.backends.local import LocalBackend
from cooperbench.eval.backends.local.engine import Engine
from cooperbench.eval.backends.local.store import gc, imageconfig
from cooperbench.eval.backends.local.store.importing import bring
from tests.images import making
from tests.images.making import files, member, tar


@pytest.fixture(name="programs")
def _programs() -> bytes:
    """A layer with a shell and small programs."""
    busybox = making.BUSYBOX.read_bytes()
    names = ("sh", "cat", "id", "pwd", "ls", "env", "stat", "echo", "mkdir", "touch")
    return tar(
        [
            (member("bin/busybox", mode=0o755), busybox),
            *((member(f"bin/{name}", tarfile.SYMTYPE, linkname="busybox"), b"") for name in names),
            (member("etc/passwd"), b"root:x:0:0::/root:/bin/sh\napp:x:1000:1001::/home/app:/bin/sh\n"),
            (member("etc/group"), b"root:x:0:\napp:x:1001:\nstaff:x:50:root,app\n"),
        ]
    )


def saved(tmp_path: Path, content: bytes, name: str = "saved.tar") -> str:
    path = tmp_path / name
    path.write_bytes(content)
    return str(path)


def said(backend: LocalBackend, image: str, *argv: str, workdir: str = "", user: str = "") -> str:
    sandbox = backend.create(SandboxSpec(image, 60, workdir, user=user))
    try:
        done = sandbox.exec(*argv)
        assert done.returncode == 0, done
        return done.stdout_read().strip()
    finally:
        sandbox.terminate()


def test_the_configuration_is_honoured(backend: LocalBackend, programs: bytes, tmp_path: Path) -> None:
    config = {
        "Env": ["GREETING=a 'b' $c", "PATH=/bin", "EMPTY=", "EQUALS=a=b"],
        "WorkingDir": "/srv/app",
        "User": "app",
        "Entrypoint": ["/bin/touch", "/entrypoint-ran"],
        "Cmd": ["never"],
    }
    source = saved(tmp_path, making.docker_save([programs], "configured:1", config))
    (image,) = bring(backend.engine(), source)
    assert backend.prepare_image("configured:1", None) == image.digest
    script = 'echo "$GREETING|$EQUALS|$HOME"; pwd; id; ls /'
    lines = said(backend, "configured:1", "sh", "-c", script).splitlines()
    many = backend.engine().ids.many
    assert lines[0] == "a 'b' $c|a=b|" + ("/home/app" if many else "/root")
    assert lines[1] == "/srv/app"
    assert lines[2].startswith(
        "uid=1000(app) gid=1001(app) groups=50(staff),1001(app)" if many else "uid=0(root)"
    )
    assert "entrypoint-ran" not in lines
    assert said(backend, "configured:1", "pwd", workdir="sub") == "/srv/app/sub"
    assert said(backend, "configured:1", "pwd", workdir="/workspace") == "/workspace"
    assert said(backend, "configured:1", "id", "-u", user="root") == "0"
    assert said(backend, "configured:1", "id", "-u", user="77:88") == ("77" if many else "0")


def test_a_user_the_image_does_not_have(backend: LocalBackend, programs: bytes, tmp_path: Path) -> None:
    if not backend.engine().ids.many:
        pytest.skip("there is one user only")
    bring(backend.engine(), saved(tmp_path, making.docker_save([programs], "nobody:1", {"User": "stranger"})))
    with pytest.raises(SandboxStartError, match="no user 'stranger'"):
        backend.create_sandbox("nobody:1")


def test_archives_are_roots_whoever_commands_run_as(
    backend: LocalBackend, programs: bytes, tmp_path: Path
) -> None:
    bring(backend.engine(), saved(tmp_path, making.docker_save([programs], "user:1", {"User": "1000"})))
    sandbox = backend.create_sandbox("user:1")
    sandbox.put_archive("/root/put", files({"file": b"x"}))
    owner = sandbox.exec("stat", "-c", "%u:%g", "/root/put/file").stdout_read().strip()
    assert owner == "0:0"
    assert (sandbox.exec("touch", "/root/put/mine").returncode != 0) == backend.engine().ids.many
    sandbox.terminate()


def test_layers_are_shared_and_stacked(
    backend: LocalBackend, engine: Engine, programs: bytes, tmp_path: Path
) -> None:
    first = files({"data/a": b"1", "data/b": b"2", "opaque/old": b"3"})
    second = files({"data/.wh.a": b"", "opaque/.wh..wh..opq": b"", "opaque/new": b"4"})
    bring(engine, saved(tmp_path, making.docker_save([programs, first], "one:1")))
    before = set(os.listdir(engine.state.path / "layers"))
    bring(engine, saved(tmp_path, making.docker_save([programs, first, second], "two:1")))
    assert len(set(os.listdir(engine.state.path / "layers")) - before) == 1
    assert said(backend, "one:1", "sh", "-c", "ls /data /opaque").split() == [
        "/data:",
        "a",
        "b",
        "/opaque:",
        "old",
    ]
    assert said(backend, "two:1", "sh", "-c", "ls /data /opaque").split() == [
        "/data:",
        "b",
        "/opaque:",
        "new",
    ]


def test_more_layers_than_a_mount_option_names(
    backend: LocalBackend, programs: bytes, tmp_path: Path
) -> None:
    layers = [programs, *(files({f"many/{number}": b"x"}) for number in range(126))]
    layers += [layers[1], files({})]  # one comes again, one is empty
    bring(backend.engine(), saved(tmp_path, making.docker_save(layers, "many:1")))
    assert len(said(backend, "many:1", "ls", "/many").split()) == 126


def test_a_layout_directory_and_its_archive(backend: LocalBackend, programs: bytes, tmp_path: Path) -> None:
    digest = making.oci_layout(tmp_path / "layout", [programs, files({"hello": b"there"})])
    (image,) = bring(backend.engine(), str(tmp_path / "layout"), "layout:1")
    assert image.digest == digest
    assert said(backend, "layout:1", "cat", "/hello") == "there"
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        archive.add(tmp_path / "layout", "")
    (again,) = bring(backend.engine(), saved(tmp_path, buffer.getvalue()), "layout:2")
    assert again == image


def test_a_root_file_system(backend: LocalBackend, programs: bytes, tmp_path: Path) -> None:
    (flat,) = bring(backend.engine(), saved(tmp_path, gzip.compress(programs)), "flat:1")
    assert said(backend, "flat:1", "id", "-u") == "0"
    tree = tmp_path / "tree"
    with tarfile.open(fileobj=io.BytesIO(programs)) as archive:
        archive.extractall(tree, filter="tar")
    (tree / "same").write_text("x")
    os.link(tree / "same", tree / "linked")
    (made,) = bring(backend.engine(), str(tree), "tree:1")
    assert said(backend, "tree:1", "stat", "-c", "%h %u", "/linked") == "2 0"
    assert bring(backend.engine(), str(tree), "tree:2") == [made]
    assert flat.digest != made.digest


@pytest.mark.parametrize("broken", ["layer", "config", "manifest"])
def test_blobs_that_are_not_what_they_are_called(engine: Engine, tmp_path: Path, broken: str) -> None:
    layer = files({broken: b"x"})
    digest = making.oci_layout(tmp_path / "layout", [layer])
    blobs = tmp_path / "layout" / "blobs" / "sha256"
    manifest = json.loads((blobs / digest[7:]).read_bytes())
    victim = {
        "layer": manifest["layers"][0]["digest"],
        "config": manifest["config"]["digest"],
        "manifest": digest,
    }[broken]
    content = (blobs / victim[7:]).read_bytes()
    other = gzip.compress(layer, 1, mtime=5) if broken == "layer" else content + b" "
    (blobs / victim[7:]).write_bytes(other)
    with pytest.raises(SandboxStartError, match="not what its name promises"):
        bring(engine, str(tmp_path / "layout"), "broken:1")
    assert engine.images.digest("broken:1") is None


def test_another_platform(engine: Engine, programs: bytes, tmp_path: Path) -> None:
    making.oci_layout(tmp_path / "layout", [programs], platform="linux/s390x")
    with pytest.raises(SandboxStartError, match=r"not for this machine.*it is for linux/s390x"):
        bring(engine, str(tmp_path / "layout"), "other:1")
    (image,) = bring(engine, str(tmp_path / "layout"), "other:1", platform="linux/s390x")
    (entry,) = [entry for entry in gc.entries(engine.state) if entry.digest == image.digest]
    assert entry.platform == "linux/s390x"


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"noise" * 1000, "not a tar archive"),
        (files({"manifest.json": b"[" * 100_000}), "cannot be read"),
        (files({"manifest.json": b'[{"Config": "../../etc/passwd", "Layers": []}]'}), "outside it"),
        (files({"manifest.json": b'[{"Config": "none", "Layers": []}]'}), "it has no none"),
        (files({"manifest.json": b'[{"Config": "c", "Layers": ["l"]}]', "c": b"{}"}), "cannot be read"),
        (files({"index.json": b'{"manifests": [{"digest": "sha256:../../x"}]}'}), "cannot be read"),
        (files({"index.json": b'{"layers": []}'}), "cannot be read"),
    ],
)
def test_hostile_archives(engine: Engine, tmp_path: Path, content: bytes, problem: str) -> None:
    with pytest.raises(SandboxStartError, match=problem):
        bring(engine, saved(tmp_path, content), "hostile:1")


def test_a_long_name_is_not_read_whole(engine: Engine, tmp_path: Path) -> None:
    header = member("././@LongLink", tarfile.GNUTYPE_LONGNAME, size=9 << 20)
    content = header.tobuf(tarfile.GNU_FORMAT) + b"x" * (9 << 20)
    with pytest.raises(SandboxStartError, match="a header of 9437184 bytes"):
        bring(engine, saved(tmp_path, content), "hostile:1")


def test_a_root_file_system_of_many_files(
    engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cooperbench.eval.backends.local.store.saved._MOST_MEMBERS", 2)
    source = saved(tmp_path, files(dict.fromkeys(("manifest.json", "a", "b", "c"), b"")))
    (image,) = bring(engine, source, "many:1")
    (layer,) = image.layers
    assert len(list((engine.state.path / layer).iterdir())) == 4


def test_sources_that_are_none(engine: Engine, programs: bytes, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="No such file"):
        bring(engine, str(tmp_path / "nothing"))
    with pytest.raises(UsageError, match="without a name"):
        bring(engine, saved(tmp_path, programs))
    with pytest.raises(UsageError, match="no image name"):
        bring(engine, saved(tmp_path, programs), "NO NAME")


@pytest.mark.parametrize(
    "config",
    [
        b"[]",
        b"{}",
        b'{"rootfs": {"diff_ids": ["md5:00"]}}',
        b'{"rootfs": {"diff_ids": [5]}}',
        b'{"rootfs": {"diff_ids": []}, "config": {"Env": [5]}}',
        b'{"rootfs": {"diff_ids": []}, "config": {"User": "a\\u0000b"}}',
        b'{"rootfs": {"diff_ids": []}, "config": {"WorkingDir": {}, "User": 7}}',
        b"[" * 100_000,
    ],
)
def test_configurations_that_are_none(config: bytes) -> None:
    with pytest.raises(SandboxStartError, match="image x: its configuration"):
        imageconfig.parse(config, "x")
