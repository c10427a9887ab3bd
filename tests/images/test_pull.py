"""Images pulled from Debian's registry, where a real engine put them: the same files, each layer once, resumed."""

from __future__ import annotations

import gzip
import json
import secrets
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import zstandard

from cooperbench.errors import SandboxStartError
from cooperbench.eval.backends.docker import DockerBackend
from cooperbench.eval.backends.local import LocalBackend
from tests.images import making
from tests.images.comparing import by_engine, by_sandbox, differences, docker
from tests.images.making import files, member, tar
from tests.images.registries import INDEX, Repository, debians
from tests.images.tricky import tricky_image


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with debians(tmp_path_factory.mktemp("registry")) as address:
        yield address


@pytest.fixture(scope="module")
def pushed(registry: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """An image with everything a layer can say, in the registry and on the engine."""
    with tricky_image(tmp_path_factory.mktemp("context")) as image:
        name = f"{registry}/tricky:1"
        docker("tag", image, name)
        try:
            docker("push", "-q", name)
            yield name
        finally:
            docker("rmi", "-f", name)


@pytest.fixture(scope="module")
def repository(registry: str, pushed: str) -> Repository:
    assert pushed
    return Repository(registry, "tricky")


def test_the_same_files_under_the_same_digest(backend: LocalBackend, pushed: str) -> None:
    digest = backend.prepare_image(pushed, None)
    engine = DockerBackend(pull="never")
    assert digest == engine.prepare_image(pushed, None)
    engine.close()
    assert differences(by_engine(pushed), by_sandbox(backend, pushed)) == []
    by_digest = f"{pushed.rpartition(':')[0]}@{digest}"
    assert backend.prepare_image(by_digest, None) == digest


def test_more_layers_than_engines_make(
    backend: LocalBackend, registry: str, repository: Repository, pushed: str
) -> None:
    """115 layers, each with a file and what takes another away."""
    manifest = repository.manifest("1")
    config = json.loads(repository.blob(manifest["config"]["digest"]))
    layers = list(manifest["layers"])
    for number in range(110):
        content = tar(
            [
                (member("data", tarfile.DIRTYPE, mtime=number), b""),
                (member("data/many", tarfile.DIRTYPE, mtime=number), b""),
                (member(f"data/many/{number}"), b"%d" % number),
                (member(f"data/many/.wh.{number - 5}"), b""),
            ]
        )
        packed = gzip.compress(content, 1, mtime=0)
        layers.append(repository.put_blob(packed, manifest["layers"][0]["mediaType"]))
        config["rootfs"]["diff_ids"].append(making.digest(content))
        config["history"].append({"created_by": str(number)})
    repository.put_image("many", config, layers)
    name = f"{registry}/tricky:many"
    docker("pull", "-q", name)
    try:
        backend.prepare_image(name, None)
        theirs = by_engine(name)
        assert {path for path in theirs if path.startswith("/data/many/")} == {
            f"/data/many/{number}" for number in range(105, 110)
        }
        assert differences(theirs, by_sandbox(backend, name)) == []
    finally:
        docker("rmi", "-f", name)
    assert pushed


def test_layers_compressed_with_zstd(backend: LocalBackend, registry: str, repository: Repository) -> None:
    manifest = repository.manifest("1")
    config = json.loads(repository.blob(manifest["config"]["digest"]))
    content = files({"data/zstd": b"z" * 100_000})
    layer = repository.put_blob(
        zstandard.compress(content[:5000]) + zstandard.compress(content[5000:]),
        "application/vnd.oci.image.layer.v1.tar+zstd",
    )
    config["rootfs"]["diff_ids"].append(making.digest(content))
    described = repository.put_image("zstd", config, [*manifest["layers"], layer])
    before = set((backend.engine().state.path / "layers").iterdir())
    assert backend.prepare_image(f"{registry}/tricky:zstd", None) == described["digest"]
    assert len(set((backend.engine().state.path / "layers").iterdir()) - before) <= 1 or not before
    sandbox = backend.create_sandbox(f"{registry}/tricky:zstd")
    assert sandbox.exec("wc", "-c", "/data/zstd").stdout.split()[0] == b"100000"
    sandbox.terminate()


def test_an_image_for_several_platforms(
    backend: LocalBackend, registry: str, repository: Repository, pushed: str
) -> None:
    manifest = repository.manifest("1")
    config = json.loads(repository.blob(manifest["config"]["digest"]))
    ours, theirs = config["architecture"], "s390x"
    entries = []
    for architecture in (theirs, ours):
        config["architecture"] = architecture
        described = repository.put_image(f"one-{architecture}", config, manifest["layers"])
        entries.append({**described, "platform": {"os": "linux", "architecture": architecture}})
    unknown = {**entries[0], "platform": {"os": "unknown", "architecture": "unknown"}}
    index = repository.put_manifest(
        "several", {"schemaVersion": 2, "mediaType": INDEX, "manifests": [unknown, *entries]}, INDEX
    )
    name = f"{registry}/tricky:several"
    assert backend.prepare_image(name, None) == index["digest"]
    docker("pull", "-q", name)
    try:
        assert index["digest"] in docker("inspect", "-f", "{{.RepoDigests}}", name)
    finally:
        docker("rmi", "-f", name)
    repository.put_manifest(
        "foreign", {"schemaVersion": 2, "mediaType": INDEX, "manifests": entries[:1]}, INDEX
    )
    with pytest.raises(SandboxStartError, match=r"not for this machine, linux/\w+; it is for linux/s390x \("):
        backend.prepare_image(f"{registry}/tricky:foreign", None)
    with pytest.raises(SandboxStartError, match=r"not for this machine.*it is for linux/s390x"):
        backend.prepare_image(f"{registry}/tricky:one-s390x", None)
    engine = backend.engine()
    made = backend.provision.pull(engine, f"{registry}/tricky:foreign", "linux/s390x")
    assert made.digest is not None
    assert pushed


def test_what_is_not_there(backend: LocalBackend, registry: str) -> None:
    with pytest.raises(SandboxStartError, match=r"cannot be pulled: .*404 .*its registry does not have it"):
        backend.create_sandbox(f"{registry}/nothing:{secrets.token_hex(4)}")
    with pytest.raises(SandboxStartError, match=r"cannot be pulled: 127\.0\.0\.1:1: "):
        backend.prepare_image("127.0.0.1:1/nobody:listens", None)


def test_never_pulled(registry: str, pushed: str, tmp_path: Path) -> None:
    backend = LocalBackend(state_dir=tmp_path, pull="never")
    with pytest.raises(SandboxStartError, match="is not here; there are"):
        backend.create_sandbox(pushed)
    backend.close()
    assert registry in pushed
