"""How sandboxes end, and who ends with them."""

from __future__ import annotations

import contextlib
import os
import threading
import time

from cooperbench.errors import SandboxLost, SandboxTimeout
from cooperbench.eval.backends.local import LocalBackend, LocalSandbox

from .frame import PATIENCE, Matrix, case, sh


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
