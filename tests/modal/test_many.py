"""Many sandboxes at once, from one process."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

from cooperbench.eval.backends.modal import ModalBackend
from tests.loopback.modal import Cloud
from tests.modal import cloud as clouds

SANDBOXES, AT_ONCE = 200, 100


def test_two_hundred_sandboxes_a_hundred_at_once(backend: ModalBackend, cloud: Cloud) -> None:
    before = threading.active_count()
    most = []

    def work(number: int) -> tuple[bytes, int]:
        sandbox = backend.create_sandbox(clouds.IMAGE)
        try:
            most.append(len(cloud.alive))
            done = sandbox.run(["sh", "-c", f"echo {number}; cat >&2; exit {number % 100}"], stdin=b"in")
            assert done.stderr == b"in"
            return done.stdout, done.returncode
        finally:
            sandbox.terminate()

    with ThreadPoolExecutor(AT_ONCE) as pool:
        results = list(pool.map(work, range(SANDBOXES)))
    assert results == [(b"%d\n" % number, number % 100) for number in range(SANDBOXES)]
    assert cloud.alive == []
    assert max(most) > 10, "they did live at the same time"
    counted = cloud.desk.counted()
    assert counted["SandboxCreateV2"] == counted["SandboxTerminateV2"] == SANDBOXES
    assert counted["TaskExecStart"] == SANDBOXES
    # The server's own threads in this process aside: the backend needs none for a sandbox.
    assert threading.active_count() - before < AT_ONCE
