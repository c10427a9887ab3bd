"""The process sandboxes are forked from: started once per harness, small, single-threaded, and without privileges.

It keeps a warm interpreter with everything a sandbox's PID 1 needs, in a user namespace of its own. It obeys the
harness over a socket, and dies with it: a descriptor of the harness's process tells, even when a forked copy of the
harness still holds the socket. Whatever it has forked dies before it does.
"""

from __future__ import annotations

import codecs
import contextlib
import gc
import os
import select
import signal
import socket
import sys
from collections.abc import Callable
from typing import Any

from . import agent, archives, kernel, layers, limits, namespaces, rootfs, routes, users, wire


def main(control_descriptor: int) -> None:
    """Serve one harness until it ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the harness's to interpret
    os.closerange(control_descriptor + 1, 65536)
    control = socket.socket(fileno=control_descriptor)
    hello, _ = wire.receive(control)
    if hello is None:
        return
    try:
        harness = os.pidfd_open(hello["harness"])
        if os.getppid() != hello["harness"]:
            return
        os.chdir(hello["directory"])
        kernel.write_file("/proc/self/comm", "cb-zygote")
        kernel.prctl(kernel.PR_SET_CHILD_SUBREAPER, 1)
        codecs.lookup("ascii")
        namespaces.enter_outer(hello["ids"])
        sys.path.clear()  # out of reach where Python lives in a closed home: then let it be out of reach everywhere
        _prepare_directory(hello["owner"])
    except OSError as error:
        wire.send(control, {"error": str(error.strerror or error)})
        return
    gc.collect()
    gc.freeze()  # what is here now is shared by all forks: leave its pages alone
    wire.send(control, {"ready": True})
    Zygote(control, harness, hello).serve()


def _prepare_directory(owner: str) -> None:
    for name in (rootfs.SCRATCH, "layers", "run", "trash", f"run/{owner}"):
        with contextlib.suppress(FileExistsError):
            os.mkdir(name, 0o755)
    os.close(os.open("layers", os.O_RDONLY | os.O_DIRECTORY))  # readable by us, or say so now


class Zygote:
    """The zygote's loop and what it can be told."""

    def __init__(self, control: socket.socket, harness: int, hello: dict[str, Any]) -> None:
        self._control = control
        self._harness = harness
        self._ids: dict[str, Any] = hello["ids"]
        self._owner: str = hello["owner"]
        self._sweeper = 0
        self._sweep_again = False

    def serve(self) -> None:
        """Obey until the harness lets go or dies; then leave nothing behind."""
        awake, alarm = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(alarm, warn_on_full_buffer=False)
        poll = select.poll()
        for descriptor in (self._control.fileno(), self._harness, awake):
            poll.register(descriptor, select.POLLIN)
        while True:
            ready = {descriptor for descriptor, _ in poll.poll()}
            if self._harness in ready:
                break
            if awake in ready:
                with contextlib.suppress(BlockingIOError):
                    os.read(awake, 4096)
                self._reap()
            if self._control.fileno() in ready and not self._obey():
                break
        self._die()

    def _obey(self) -> bool:
        message, descriptors = wire.receive(self._control, spilled=True)
        if message is None:
            return False
        with wire.closing(descriptors):
            match message["op"]:
                case "create":
                    self._create(message["spec"], descriptors)
                case "sweep":
                    self._sweep()
                case task:
                    self._aside(task, message, descriptors)
        return True

    # ------------------------------------------------------------------------------------------ sandboxes

    def _create(self, spec: dict[str, Any], descriptors: list[int]) -> None:
        control = socket.socket(fileno=os.dup(descriptors[0]))
        held = [os.dup(descriptor) for descriptor in descriptors[1:]]

        def warden() -> None:
            self._control.close()
            wire.close_all(descriptors)
            _reporting(control, lambda: self._ward(control, held, spec))

        try:
            wire.close_all(namespaces.forked_into(kernel.CLONE_NEWUSER, self._ids, warden))
        except OSError as error:
            _report(control, error)
        finally:
            control.close()
            wire.close_all(held)

    def _ward(self, control: socket.socket, held: list[int], spec: dict[str, Any]) -> None:
        """In the middle namespace: make the inner one, hand its handles to the harness, and be gone."""
        namespaces.limit_processes(spec["limits"]["processes"])
        wanted = kernel.ALL_NAMESPACES
        if spec["network"]["mode"] == "host":
            wanted &= ~kernel.CLONE_NEWNET
        kept = {control.fileno(), self._harness, *held}
        handles = namespaces.forked_into(
            wanted,
            self._ids,
            lambda: _reporting(control, lambda: _first(control, self._harness, kept, spec)),
            ("user", "net") if spec["network"]["mode"] == "open" else (),
        )
        wire.send(control, {"born": True}, handles)
        os._exit(0)

    # ------------------------------------------------------------------------------------------ other work

    def _aside(self, task: str, message: dict[str, Any], descriptors: list[int]) -> None:
        if os.fork() == 0:
            self._control.close()
            agent.work_and_answer(descriptors[0], lambda: _task(task, message, descriptors))

    def _sweep(self) -> None:
        """Empty the trash, one sweeper at a time, in nobody's way."""
        if self._sweeper:
            self._sweep_again = True
            return
        self._sweep_again = False
        self._sweeper = os.fork()
        if self._sweeper == 0:
            self._control.close()
            with contextlib.suppress(OSError):
                os.nice(10)
            _empty_trash()
            os._exit(0)

    def _reap(self) -> None:
        while True:
            try:
                pid, _ = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            if pid == self._sweeper:
                self._sweeper = 0
                if self._sweep_again:
                    self._sweep()

    def _die(self) -> None:
        signal.set_wakeup_fd(-1)
        with contextlib.suppress(ChildProcessError):
            # Again after each: a warden's sandbox becomes our child only when the warden has ended.
            while True:
                for pid in _children():
                    if pid != self._sweeper:
                        with contextlib.suppress(OSError):
                            os.kill(pid, signal.SIGKILL)
                os.waitpid(-1, 0)
        with contextlib.suppress(OSError):
            os.rename(f"run/{self._owner}", f"trash/{self._owner}")
        _empty_trash()


def _children() -> list[int]:
    try:
        with open(f"/proc/self/task/{os.getpid()}/children", "rb") as file:
            return [int(pid) for pid in file.read().split()]
    except FileNotFoundError:  # a kernel without that file; sandboxes also end by themselves
        return []


def _empty_trash() -> int:
    names = os.listdir("trash")
    for name in names:
        archives.remove(f"trash/{name}")
    return len(names)


def _task(name: str, order: dict[str, Any], given: list[int]) -> int | dict[str, int]:
    """What the zygote does for the harness besides sandboxes: work on files that belong to the id map.

    Args:
        given: descriptors; the first is where the answer goes.
    """
    match name:
        case "unpack":
            return archives.unpack(given[1], order["directory"], owners=True)
        case "layer":
            return layers.unpack(given[1], order, given[0])
        case "seal":
            return archives.seal(order["upper"], order["target"], order["host_places"], order["dropped"])
        case "empty":
            return _empty_trash()
    raise ValueError(f"unknown task {name!r}")


def _first(control: socket.socket, harness: int, kept: set[int], spec: dict[str, Any]) -> None:
    """PID 1's way from birth to service."""
    gc.disable()
    kernel.write_file("/proc/self/comm", "cb-sandbox")
    limits.first_to_die()
    limits.forget_descriptors(kept)
    if spec["upper"]:
        os.mkdir(spec["upper"], 0o755)
    outside = rootfs.enter(spec)
    kernel.set_hostname(spec["hostname"])
    if spec["network"]["mode"] != "host":
        routes.loopback_up()
        routes.forbid(spec["network"]["forbidden"])
    user = users.find(spec["user"]) if spec["many_ids"] else users.ROOT
    secret = int.from_bytes(os.urandom(8), "little") or 1
    limits.confine(spec, secret)
    served = agent.Agent(control, harness, spec, secret, outside, user)
    wire.send(control, {"ready": True})
    served.serve()
    os._exit(0)


def _reporting(control: socket.socket, work: Callable[[], None]) -> None:
    try:
        work()
    except BaseException as error:  # all of it: the harness is waiting for one word from us
        _report(control, error)
    finally:
        os._exit(1)


def _report(control: socket.socket, error: BaseException) -> None:
    with contextlib.suppress(OSError):
        wire.send(control, {"error": f"{type(error).__name__}: {error}"[:2000]})
