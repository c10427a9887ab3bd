"""One sandbox: a container, its lanes, and its end. What a command is on a lane is in `commands`."""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Iterator, Mapping, Sequence

from cooperbench.errors import BackendError, SandboxLost, SandboxTimeout
from cooperbench.eval.backends.base import Completed, SandboxSpec
from cooperbench.eval.backends.command import Command
from cooperbench.eval.backends.docker import archives, commands, containers
from cooperbench.eval.backends.docker.config import Settings
from cooperbench.eval.backends.docker.engine import Engine, EngineGone, Refused, complaints
from cooperbench.eval.backends.docker.lane import Lane, LaneLost, new_word
from cooperbench.eval.backends.docker.stream import Stream

log = logging.getLogger(__name__)

_OPENING = 60.0


class DockerSandbox:
    """A container; see `base.Sandbox`, `base.CommandSandbox` and `base.ArchiveSandbox`."""

    def __init__(self, engine: Engine, settings: Settings, spec: SandboxSpec, born: float) -> None:
        self.engine = engine
        self.settings = settings
        self.spec = spec
        self.container, first = containers.start(engine, settings, spec)
        self.seen_by_engine = True
        """Whether the engine's archive calls reach the container's files: it can lose sight of a running one's, when
        its mount of them is gone, and then puts and gets beside them without a word."""
        self._first = first
        self._all: set[Lane] = {first}
        self._free = [first]
        self._changed = threading.Condition()
        self._killer: Lane | None = None
        self._busy = 0
        self._killing = False
        self._end: SandboxLost | None = None
        self._removed = False
        self._life = threading.Timer(max(0.0, born + spec.timeout - time.monotonic()), self._expire)
        self._life.name = "docker sandbox lifetime"
        self._life.daemon = True
        self._life.start()

    # ---------------------------------------------------------------------------------------- the seam

    def exec(self, *args: str) -> Completed:
        """See `base.Sandbox`."""
        return self.run(args)

    def run(
        self,
        argv: Sequence[str],
        *,
        timeout: float | None = None,
        env: Mapping[str, str] | None = None,
        cwd: str | None = None,
        stdin: bytes | None = None,
    ) -> Completed:
        """See `base.CommandSandbox`."""
        return commands.run(self, Command(tuple(argv), timeout, env or {}, cwd, stdin))

    def put_archive(self, directory: str, archive: bytes) -> None:
        """See `base.ArchiveSandbox`."""
        archives.put(self, directory, archive)

    def get_archive(self, directory: str, limit: int) -> bytes:
        """See `base.ArchiveSandbox`."""
        return archives.get(self, directory, limit)

    def terminate(self) -> None:
        """See `base.Sandbox`."""
        self._finish(SandboxLost("the sandbox was terminated"))
        with self._changed:
            if self._removed:
                return
        containers.remove(self.engine, self.container)
        with self._changed:
            self._removed = True
        self._let_go()

    # ---------------------------------------------------------------------------------------- lanes

    @contextlib.contextmanager
    def lane(self) -> Iterator[Lane]:
        """A lane nobody else uses meanwhile; it is used again if its user says it is `spare`, else let go of."""
        lane = self._take()
        try:
            yield lane
        finally:
            with self._changed:
                self._busy -= 1
                self._changed.notify_all()

    def _take(self) -> Lane:
        with self._changed:
            self._changed.wait_for(lambda: not self._killing or self._end is not None)
            if self._end is not None:
                raise self._ended()
            self._busy += 1
            if self._free:
                return self._free.pop()
        try:
            return self.open_lane()
        except BaseException:
            with self._changed:
                self._busy -= 1
                self._changed.notify_all()
            raise

    def open_lane(self) -> Lane:
        """One more lane, by an exec of its own.

        Raises:
            SandboxLost: there is nothing to open it in. BackendError: the engine would not.
        """
        ready = new_word()
        lane = None
        try:
            with complaints(self.engine, "starting a command"):
                command = Lane.command(ready, "/")
                created = self.engine.api.exec_create(
                    self.container, command, stdin=True, stdout=True, stderr=True, user="0", workdir="/"
                )
                stream = Stream(self.engine.api.exec_start(created["Id"], socket=True))
            lane = Lane(stream, ready, str(created["Id"]))
            lane.wait_ready(_OPENING)
        except (EngineGone, Refused, LaneLost, TimeoutError) as problem:
            if lane is not None:
                lane.close()
            self.raise_if_lost()
            raise BackendError(f"no further command can be started in the sandbox: {problem}") from problem
        with self._changed:
            self._all.add(lane)
        return lane

    def keep_killer(self, lane: Lane | None = None) -> None:
        """Have a lane at hand for killing: this one, or one more unless there is one; lacking it is no trouble yet."""
        if lane is None:
            with self._changed:
                if self._killer is not None:
                    return
            try:
                lane = self.open_lane()
            except SandboxLost:
                raise
            except BackendError as problem:
                log.debug("no lane to keep for killing: %s", problem)
                return
        with self._changed:
            kept, self._killer = self._killer, lane
        if kept is not None:
            self.abandon(kept)

    def take_killer(self) -> Lane | None:
        with self._changed:
            kept, self._killer = self._killer, None
            return kept

    def spare(self, lane: Lane) -> None:
        """Nothing but the lane itself has its streams: another command may use it."""
        with self._changed:
            self._free.append(lane)

    def abandon(self, lane: Lane) -> None:
        """Something in the container still prints into the lane's streams: it is never used again.

        The first lane stays connected, for the container lives no longer than its input.
        """
        if lane is self._first:
            lane.drain()
            return
        lane.close()
        with self._changed:
            self._all.discard(lane)

    @contextlib.contextmanager
    def killing(self) -> Iterator[tuple[bool, str]]:
        """While a command's processes are killed nothing new begins; whether it is alone, and the lanes' ids."""
        with self._changed:
            self._changed.wait_for(lambda: not self._killing)
            self._killing = True
            alone = self._busy == 1
            lanes = " ".join(str(lane.pid) for lane in self._all)
        try:
            yield alone, lanes
        finally:
            with self._changed:
                self._killing = False
                self._changed.notify_all()

    # ---------------------------------------------------------------------------------------- the end

    def raise_if_over(self) -> None:
        """Raise `SandboxLost` if it is known to be over."""
        with self._changed:
            if self._end is not None:
                raise self._ended()

    def raise_if_lost(self, patience: float = 1.0) -> None:
        """Raise `SandboxLost`, with the reason, if the container does not run; waits for one that is about to end."""
        self.raise_if_over()
        try:
            state = containers.look(self.engine, self.container, patience)
        except EngineGone as gone:
            self._finish(SandboxLost(f"the sandbox was lost: {gone}"))
        else:
            if not state.running:
                self._finish(SandboxLost(f"the sandbox died: {state.why}"))
        self.raise_if_over()

    def lose(self, why: str) -> SandboxLost:
        """End it for a reason of ours; returns what to raise."""
        self._finish(SandboxLost(f"the sandbox was lost: {why}"))
        with contextlib.suppress(EngineGone, Refused):
            containers.remove(self.engine, self.container)
        return self._ended()

    def is_first(self, lane: Lane) -> bool:
        return lane is self._first

    def _finish(self, end: SandboxLost) -> None:
        """The first reason to end is the one that counts."""
        with self._changed:
            if self._end is None:
                self._end = end
            self._changed.notify_all()
        self._life.cancel()

    def _ended(self) -> SandboxLost:
        """A fresh exception: several threads may raise it."""
        end = self._end
        return SandboxLost("the sandbox is over") if end is None else type(end)(str(end))

    def _expire(self) -> None:
        self._finish(SandboxTimeout(f"the sandbox reached its lifetime of {self.spec.timeout:g} s"))
        try:
            containers.remove(self.engine, self.container)
        except BackendError as problem:
            log.warning("a sandbox past its lifetime could not be removed: %s", problem)
        self._let_go()

    def _let_go(self) -> None:
        with self._changed:
            lanes, self._all = self._all, set()
            self._free = []
        for lane in lanes:
            lane.close()
