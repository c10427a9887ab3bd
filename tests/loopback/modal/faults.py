"""What can be made to go wrong, and the record of what was asked.

A fault takes the place of a call's handler, or stands between the handler and its answer. It names the call as the
protocol does (`SandboxCreateV2`, `TaskExecStart`, …) and applies to the next `times` calls of that name.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Literal

from grpclib import GRPCError, Status
from modal_proto import api_pb2 as pb

Kind = Literal["unavailable", "lost", "throttle", "throttle-bare", "denied", "cut"]
ENDLESS = 1 << 30

Handler = Callable[[Any], Awaitable[None]]


@dataclass
class Fault:
    """One thing that goes wrong."""

    call: str
    kind: Kind
    """`unavailable`: refused before anything is done. `lost`: done, but the answer never arrives. `throttle`: refused
    with the time to come back, `throttle-bare`: without. `denied`: for good. `cut`: a stream ends after `after` bytes.
    """
    times: int = 1
    seconds: float = 0.2
    """When to come back."""
    after: int = 3


@dataclass(frozen=True)
class Call:
    """One call as it arrived."""

    name: str
    idempotency_key: str = ""
    attempt: str = ""


class Desk:
    """Where calls are recorded and faults lie ready."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._faults: list[Fault] = []
        self.calls: list[Call] = []
        self.refused: list[str] = []
        """Calls this server does not know."""
        self.unauthenticated: list[str] = []

    def add(self, fault: Fault) -> None:
        """From now on."""
        with self._lock:
            self._faults.append(fault)

    def clear(self) -> None:
        """Nothing goes wrong any more, and nothing has been asked."""
        with self._lock:
            self._faults.clear()
            self.calls.clear()

    def take(self, call: str) -> Fault | None:
        """The fault for this call, if any; it is used up by that."""
        with self._lock:
            for fault in self._faults:
                if fault.call == call and fault.times > 0:
                    fault.times -= 1
                    return fault
        return None

    def counted(self) -> Counter[str]:
        """How often each call came."""
        with self._lock:
            return Counter(call.name for call in self.calls)


def spoiled(fault: Fault, handler: Handler) -> Handler:
    """The handler, with the fault."""

    async def handle(stream: Any) -> None:
        match fault.kind:
            case "unavailable":
                raise GRPCError(Status.UNAVAILABLE, "the loopback server was told to be unavailable")
            case "denied":
                raise GRPCError(Status.PERMISSION_DENIED, "the loopback server was told to deny this")
            case "throttle" | "throttle-bare":
                raise throttled(fault.seconds if fault.kind == "throttle" else None)
            case "lost":
                await handler(_Mute(stream))
            case "cut":
                await handler(_Cut(stream, fault.after))

    return handle


def throttled(seconds: float | None) -> GRPCError:
    """Too many requests; the client comes back after `seconds` by itself [client], or is left to its own devices."""
    policy = [pb.RPCRetryPolicy(retry_after_secs=seconds)] if seconds is not None else None
    return GRPCError(Status.RESOURCE_EXHAUSTED, "Sandbox creation rate limit (5/s) exceeded", policy)


class _Mute:
    """A call's stream whose answer gets lost on the way."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    async def send_message(self, message: Any) -> None:
        del message
        raise GRPCError(Status.UNAVAILABLE, "the loopback server was told to lose this answer")


class _Cut:
    """A call's stream that breaks after so many bytes of data."""

    def __init__(self, stream: Any, after: int) -> None:
        self._stream = stream
        self._left = after

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    async def send_message(self, message: Any) -> None:
        kept = message.data[: self._left]
        self._left -= len(kept)
        if kept:
            await self._stream.send_message(type(message)(data=kept))
        if self._left <= 0:
            raise GRPCError(Status.UNAVAILABLE, "the loopback server was told to cut this stream")
