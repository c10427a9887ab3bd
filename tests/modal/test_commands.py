"""What commands may be, beyond the contract."""

from __future__ import annotations

import multiprocessing
import os
from typing import Any

import pytest

from cooperbench.errors import BackendError, UsageError
from cooperbench.eval.backends.modal import ModalBackend, ModalSandbox
from tests.loopback.modal import Cloud
from tests.modal import cloud as clouds
from tests.modal.conftest import Make


@pytest.mark.parametrize("size", [59_000, 70_000, 120_000])
def test_arguments_longer_than_modal_takes(sandbox: ModalSandbox, size: int) -> None:
    odd = 'it\'s\n$HOME `id` \\ "é"'
    done = sandbox.exec("printf", "%s|", odd, "y" * size, "")
    assert done.stdout == odd.encode() + b"|" + b"y" * size + b"||"
    assert sandbox.exec("sh", "-c", "ls -A /tmp").stdout == b"", "nothing is left on the way"


def test_arguments_that_are_no_text(sandbox: ModalSandbox) -> None:
    word = b"a\xff\xfeb".decode("utf-8", "surrogateescape")
    assert sandbox.exec("printf", "%s", word).stdout == b"a\xff\xfeb"


def test_long_arguments_with_everything_else(sandbox: ModalSandbox) -> None:
    script = 'printf "%s %s %s " "$A" "$(pwd)" "${#1}"; cat'
    argv = ["sh", "-c", script, "sh", "y" * 100_000]
    done = sandbox.run(argv, timeout=50, env={"A": "b"}, cwd="/usr", stdin=b"in\0\xff")
    assert done.stdout == b"b /usr 100000 in\0\xff"


@pytest.mark.parametrize(("argv", "env"), [((), {}), (("a\0b",), {}), (("true",), {"A": "b\0"})])
def test_what_no_command_can_be(sandbox: ModalSandbox, argv: Any, env: Any) -> None:
    with pytest.raises(UsageError):
        sandbox.run(argv, env=env)


def test_a_directory_that_is_not_there(sandbox: ModalSandbox) -> None:
    done = sandbox.run(["true"], cwd="/no/such")
    assert done.returncode == 126
    assert "/no/such" in done.stderr_read()


def test_a_command_that_ends_before_its_input(sandbox: ModalSandbox) -> None:
    done = sandbox.run(["head", "-c", "3"], stdin=b"abc" + b"x" * 5_000_000)
    assert (done.returncode, done.stdout) == (0, b"abc")


def test_a_background_process_keeps_nobody_waiting(sandbox: ModalSandbox) -> None:
    done = sandbox.run(["sh", "-c", "sleep 600 & echo done"], timeout=120)
    assert (done.returncode, done.stdout, done.timed_out) == (0, b"done\n", False)
    assert (
        sandbox.exec("sh", "-c", "cat /proc/[0-9]*/cmdline | tr '\\0' ' ' | grep -c 'slee[p] 600'").stdout
        == b"1\n"
    )


def test_time_limits_side_by_side(sandbox: ModalSandbox) -> None:
    """One command's end is not another's."""
    from concurrent.futures import ThreadPoolExecutor

    def run(seconds: int, limit: float) -> tuple[bool, int]:
        done = sandbox.run(["sh", "-c", f"setsid sleep {seconds} & wait; exit 7"], timeout=limit)
        return done.timed_out, done.returncode

    with ThreadPoolExecutor(3) as pool:
        found = list(pool.map(run, (600, 3, 601), (1, 120, 1)))
    assert found == [(True, 124), (False, 7), (True, 124)]


HIDE = """
import os, sys
if os.fork(): sys.exit()
os.setsid()
if os.fork(): sys.exit()
os.execve("/bin/sh", ["sleep", "-c", "while :; do date >>/still-here; sleep 0.2; done"], {"PATH": os.environ["PATH"]})
"""


def test_who_hides_dies_with_a_command_that_is_alone(sandbox: ModalSandbox) -> None:
    """No tag in its environment, no parent, no session: as code under judgement may do to change what it left."""
    sandbox.exec(
        "sh", "-c", 'python3 -c "$0" >/dev/null 2>&1; until [ -s /still-here ]; do sleep 0.1; done', HIDE
    )
    assert sandbox.run(["sleep", "600"], timeout=1).timed_out
    gone = "rm /still-here; sleep 1; test ! -e /still-here"
    assert sandbox.exec("sh", "-c", gone).returncode == 0
    assert sandbox.exec("echo", "alive").stdout == b"alive\n"


def test_who_looks_like_the_main_command_dies_too(sandbox: ModalSandbox) -> None:
    life = sandbox.main[1]
    count = "n=0; for f in /proc/[0-9]*/cmdline; do tr '\\0' ' ' <$f | grep -q ^sleep && n=$((n + 1)); done; echo $n"
    alike = f"(setsid env -i sleep {life} &); (setsid env -i sh -c 'exec sleep {life}' &)"
    sandbox.exec("sh", "-c", f"({alike}) >/dev/null 2>&1; until [ $({count}) = 3 ]; do sleep 0.1; done")
    assert sandbox.run(["sh", "-c", "exec cat /dev/zero >/dev/null"], timeout=1).timed_out
    assert sandbox.exec("sh", "-c", count).stdout == b"1\n", "the main command alone"


def test_another_command_is_spared_with_what_it_started(sandbox: ModalSandbox) -> None:
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(2) as pool:
        script = "touch /begun; setsid sleep 3 & wait; echo spared"
        other = pool.submit(sandbox.run, ["sh", "-c", script], timeout=100)
        sandbox.exec("sh", "-c", "until [ -e /begun ]; do sleep 0.1; done")
        assert sandbox.run(["sleep", "600"], timeout=1).timed_out
        assert other.result().stdout == b"spared\n"


def _in_a_fork(backend: ModalBackend, answer: Any) -> None:
    try:
        backend.create_sandbox(clouds.IMAGE)
    except BackendError as problem:
        answer.send(str(problem))
    else:
        answer.send("it worked")
    os._exit(0)


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_forked_copy_is_refused_and_does_not_hang(backend: ModalBackend) -> None:
    ours, theirs = multiprocessing.Pipe()
    child = multiprocessing.get_context("fork").Process(target=_in_a_fork, args=(backend, theirs))
    child.start()
    assert ours.poll(60)
    assert "forked copy" in ours.recv()
    child.join(60)
    ours.close()
    theirs.close()


def test_what_a_sandbox_has_cost(make: Make, cloud: Cloud) -> None:
    sandbox = make()
    assert sandbox.cost() is None, "there are no figures yet"
    sandbox.terminate()
    cloud.stats = True
    try:
        cost = sandbox.cost()
    finally:
        cloud.stats = False
    assert cost is not None
    assert cost > 0
