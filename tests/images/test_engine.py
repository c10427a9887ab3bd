"""Beside a real engine: its images imported are path by path, hash by hash what it says they are."""

from __future__ import annotations

import secrets
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from cooperbench.eval.backends.docker import DockerBackend
from cooperbench.eval.backends.local import LocalBackend
from cooperbench.eval.backends.local.store.importing import bring
from tests.docker import engines
from tests.images.comparing import by_engine, by_sandbox, differences, docker

CAPABILITY = "0100000200040000" + "0" * 24
DOCKERFILE = f"""FROM {engines.IMAGE}
RUN mkdir -p /data/opaque /data/dir && echo a >/data/opaque/old && echo b >/data/dir/f1 \\
 && echo c >/data/dir/f2 && ln /data/dir/f1 /data/hard && echo gone >/data/gone && cp /usr/bin/env /data/capable
RUN rm /data/gone && rm -r /data/opaque && mkdir /data/opaque && echo new >/data/opaque/new \\
 && chmod 700 /data/opaque && rm -r /usr/share || true
RUN cp /usr/bin/env /data/suid && chmod 6755 /data/suid && chown 1000:2000 /data/dir/f2 \\
 && ln -s /etc/passwd /data/absolute && ln -s ../../../x /data/climbs && mkfifo /data/fifo \\
 && touch -d 2001-02-03T04:05:06 /data/dir/f1 && touch -h -d 2001-02-03T04:05:06 /data/climbs \\
 && truncate -s 30M /data/sparse && chmod 1777 /data/dir && echo x >'/data/nämé with  blank' \\
 && mkdir /data/group && chgrp 50 /data/group && chmod 2755 /data/group && echo y >/data/group/y \\
 && python3 -c "import os; os.setxattr('/data/capable', 'security.capability', bytes.fromhex('{CAPABILITY}'))"
ENV FOO="a 'b' \\$c"
WORKDIR /data/work
"""


@pytest.fixture(scope="module")
def tricky(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """An image with everything a layer can say."""
    context = tmp_path_factory.mktemp("context")
    (context / "Dockerfile").write_text(DOCKERFILE)
    name = f"cooperbench-test/tricky:{secrets.token_hex(4)}"
    with engines.docker(network="none"):
        docker("build", "-q", "-t", name, str(context))
        yield name
        docker("rmi", "-f", name)


def test_a_saved_image_is_the_same(backend: LocalBackend, tricky: str, tmp_path: Path) -> None:
    path = tmp_path / "saved.tar"
    docker("save", "-o", str(path), tricky)
    (image,) = bring(backend.engine(), str(path))
    assert image.workdir == "/data/work"
    assert image.env["FOO"] == "a 'b' $c"
    theirs, ours = by_engine(tricky), by_sandbox(backend, tricky)
    assert len(theirs) > 1000
    assert theirs["/data/capable"][7] == ["security.capability"]
    assert differences(theirs, ours) == []


def test_from_the_running_engine(backend: LocalBackend, tricky: str) -> None:
    (image,) = bring(backend.engine(), f"docker-daemon:{tricky}", "taken:1")
    engine = DockerBackend(pull="never")
    assert image.digest == engine.prepare_image(tricky, None)
    engine.close()
    assert backend.prepare_image("taken:1", None) == image.digest


def test_on_standard_input(tricky: str, tmp_path: Path) -> None:
    program = f"""
from cooperbench.eval.backends.local import LocalBackend
from cooperbench.eval.backends.local.store.importing import bring
backend = LocalBackend(state_dir={str(tmp_path)!r})
bring(backend.engine(), "-", "piped:1")
sandbox = backend.create_sandbox("piped:1", workdir="")
print(sandbox.exec("pwd").stdout_read())
backend.close()
"""
    with subprocess.Popen(["docker", "save", tricky], stdout=subprocess.PIPE) as save:
        done = subprocess.run(
            [sys.executable, "-c", program], stdin=save.stdout, capture_output=True, text=True, check=False
        )
    assert done.stdout.strip() == "/data/work", done.stderr
    assert save.returncode == 0
