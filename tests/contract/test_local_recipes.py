"""The embedded sandbox: images by recipe."""

from __future__ import annotations

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from cooperbench.errors import SandboxStartError
from cooperbench.eval.backends.base import (
    Recipe,
)
from cooperbench.eval.backends.local import LocalBackend


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
