"""One sandbox: a lease on a slot, from the request for it to its end."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterable
from typing import Any

from cooperbench.errors import BackendError, SandboxLost, SandboxStartError, SandboxTimeout, UsageError
from cooperbench.eval.backends.archive import pack, unpack
from cooperbench.eval.backends.base import Completed, Listener, SandboxSpec
from cooperbench.eval.backends.gcp import trouble
from cooperbench.eval.backends.gcp.config import Settings
from cooperbench.eval.backends.gcp.mailbox import Answer, Mailbox, fragment
from cooperbench.eval.backends.gcp.slots import Slot, Slots
from cooperbench.eval.backends.gcp.store import Store

log = logging.getLogger(__name__)

_PASSED_OVER = 64 << 20
"""Bytes of subdirectories and their like that are carried beside the files asked for, at most."""

_TELL_AFTER = 20.0
"""Seconds without a machine after which the service's own word on it is looked for."""


class Waiting:
    """A wait that somebody is told of: how far it is, and what trouble the service mentions, each once."""

    def __init__(self, listener: Listener, what: str) -> None:
        self._listener = listener
        self._what = what
        self._seen: set[str] = set()
        self._told = False

    def say(self, how_far: str, events: Iterable[Any]) -> None:
        self._told = True
        for line in trouble.notable(events, self._seen):
            log.warning("no machine yet: %s", line)
        self._listener(self._what, how_far)

    def over(self) -> None:
        if self._told:
            self._listener(self._what, None)


class SlotGone(SandboxStartError):
    """The machine gave itself back, or died, before the sandbox began; another slot will do."""


class TooLate(SlotGone):
    """There was no machine for as long as anybody waits; another slot would be later still."""


class GCPSandbox:
    """A container on a machine of the Batch service's; see `base.Sandbox` and `base.ArchiveSandbox`."""

    def __init__(
        self,
        store: Store,
        slots: Slots,
        settings: Settings,
        spec: SandboxSpec,
        listener: Listener,
        asked: float,
    ) -> None:
        """Ask for it and wait until it is there; the `listener` is told of the waiting.

        Args:
            asked: when (`time.monotonic`) it was first asked for, on whatever slot: patience is counted from then.

        Raises:
            SlotGone: not on this slot. TooLate: on no other either. SandboxStartError: no, and why.
        """
        self._slots = slots
        self._settings = settings
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self._end: SandboxLost | None = None
        self._closed = False
        self.slot: Slot = slots.take(spec.timeout, asked + settings.boot_patience)
        self._mailbox = Mailbox(store, self.slot.box)
        self._waiting = Waiting(listener, f"a machine for {spec.image}")
        self._asked = asked
        self._until = float("inf")
        network = spec.network or settings.network
        try:
            request = fragment("lease", self._image(spec.image), spec.workdir, network, f"{spec.timeout:g}")
            store.create(self.slot.lease, request)
            self._mailbox.wait_for("ready", self._check_begun, self._ended)
        except BaseException as problem:
            self._abandon(problem)
            raise
        finally:
            self._waiting.over()
        self._until = time.monotonic() + spec.timeout

    def _image(self, name: str) -> str:
        return f"{self._settings.mirror.rstrip('/')}/{name}" if self._settings.mirror else name

    # ------------------------------------------------------------------------------------------ its beginning

    def _check_begun(self) -> None:
        """Raise if it will not begin."""
        said = self._mailbox.farewell()
        if said is not None:
            kind, _, why = said.partition(" ")
            self._closed = True
            self._slots.give_back(self.slot)
            raise SandboxStartError(why or kind)
        if (state := self._slots.look(self.slot)).over:
            raise SlotGone(f"the machine is gone: {trouble.last_words(state.events, state.name)}")
        waited = time.monotonic() - self._asked
        if waited > _TELL_AFTER and state.name in ("PENDING", "STATE_UNSPECIFIED"):
            self._say_why(waited)

    def _say_why(self, waited: float) -> None:
        """What the service says of a job that does not start is only in its status events."""
        found = self._slots.look_at_machine(self.slot)
        self._waiting.say(f"{found.name.lower()}, {waited:.0f} s", found.events)
        if waited > self._settings.boot_patience:
            why = trouble.last_words(found.events, found.name)
            raise TooLate(f"no machine within {self._settings.boot_patience} s: {why}")

    def _abandon(self, problem: BaseException) -> None:
        if self._closed:
            return
        self._closed = True
        try:
            if isinstance(problem, SlotGone):
                self._slots.lose(self.slot)
            else:
                self._mailbox.stop()
                self._slots.give_back(self.slot)
        except BackendError as trouble_too:
            log.warning("a sandbox that did not begin may be left until its time is over: %s", trouble_too)

    # ------------------------------------------------------------------------------------------ the seam

    def exec(self, *args: str) -> Completed:
        """See `base.Sandbox`."""
        if not args:
            raise UsageError("a command needs at least the name of a program")
        limit = self._settings.output
        run = fragment("do_run", str(limit + 1), "/bin/sh", "-c", 'exec "$@"', "sh", *args)
        answer = self._ask(run)
        out, err = _tail(answer.out, limit), _tail(answer.err, limit)
        return Completed(answer.code, out, err, truncated=max(len(answer.out), len(answer.err)) > limit)

    def put_archive(self, directory: str, archive: bytes) -> None:
        """See `base.ArchiveSandbox`."""
        answer = self._ask(fragment("do_put", directory), archive)
        if answer.code != 0:
            raise BackendError(f"putting files under {directory} failed: {_words(answer)}")

    def get_archive(self, directory: str, limit: int) -> bytes:
        """See `base.ArchiveSandbox`."""
        answer = self._ask(fragment("do_get", directory.rstrip("/") or "/", str(limit + _PASSED_OVER)))
        if answer.code != 0:
            raise BackendError(f"getting {directory} failed, or it holds too much: {_words(answer)}")
        return pack({f"/{name}": content for name, content in unpack(answer.out, limit).items()})

    def terminate(self) -> None:
        """See `base.Sandbox`."""
        self._lose(SandboxLost("the sandbox was terminated"))
        with self._lock:
            if self._closed:
                return
            self._closed = True
        try:
            self._mailbox.stop()
        except BackendError:
            self._slots.lose(self.slot)
            raise
        self._slots.give_back(self.slot)

    # ------------------------------------------------------------------------------------------ its end

    def _ask(self, request: bytes, content: bytes | None = None) -> Answer:
        self._raise_if_over()
        try:
            number = self._mailbox.send(request, content)
        except BackendError as problem:
            raise self._lose(SandboxLost(f"the sandbox cannot be reached: {problem}")) from problem
        return self._mailbox.receive(number, self._check, self._ended)

    def _check(self) -> None:
        """Raise if it is over."""
        self._raise_if_over()
        said = self._mailbox.farewell()
        if said is not None:
            raise self._lose(
                SandboxTimeout(_OUTLIVED)
                if said == "timeout"
                else SandboxLost(f"the sandbox is gone: {said}")
            )
        state = self._slots.look(self.slot)
        if state.over:
            raise self._lose_machine(trouble.last_words(state.events, state.name))
        try:
            silent = self._mailbox.is_silent()
        except BackendError as problem:  # its question may be there, under a number no command may have now
            raise self._lose(SandboxLost(f"the sandbox cannot be reached: {problem}")) from problem
        if silent:
            raise self._lose_machine("it has stopped answering")

    def _lose_machine(self, why: str) -> SandboxLost:
        with self._lock:
            known, self._closed = self._closed, True
        if not known:
            self._slots.lose(self.slot)
        return self._lose(SandboxLost(f"the sandbox's machine is gone: {why}"))

    def _raise_if_over(self) -> None:
        if self._end is None and time.monotonic() > self._until:
            self._lose(SandboxTimeout(_OUTLIVED))
        if self._end is not None:
            raise type(self._end)(*self._end.args)

    def _lose(self, end: SandboxLost) -> SandboxLost:
        """Note the first end there was; returns it."""
        with self._lock:
            if self._end is None:
                self._end = end
            end = self._end
        self._ended.set()
        return end


_OUTLIVED = "the sandbox's lifetime is over"


def _tail(stream: bytes, limit: int) -> bytes:
    """What was kept, under a line that says so if it is not everything."""
    if len(stream) <= limit:
        return stream
    return b"[cooperbench: only the last %d bytes of output are kept]\n" % limit + stream[-limit:]


def _words(answer: Answer) -> str:
    return " ".join(answer.err.decode("utf-8", "replace").split()) or "no reason was given"
