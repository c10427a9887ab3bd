"""Handlers of calls, and what a call is answered that has none."""

from __future__ import annotations

import asyncio
import functools
import logging
from collections.abc import Awaitable, Callable, Coroutine
from contextvars import ContextVar
from typing import Any, TypeVar

from grpclib import GRPCError, Status

log = logging.getLogger(__name__)

Service = TypeVar("Service", bound=type)

KEY: ContextVar[str] = ContextVar("KEY", default="")
"""Idempotency key of the call being handled."""
TASK: ContextVar[str] = ContextVar("TASK", default="")
"""The task whose token it carries."""


_under_way: set[asyncio.Future[Any]] = set()


def background(work: Coroutine[Any, Any, Any]) -> None:
    """Done meanwhile; held on to until then, for the loop itself does not."""
    task = asyncio.ensure_future(work)
    _under_way.add(task)
    task.add_done_callback(_under_way.discard)


def unary(handler: Callable[[Any, Any], Awaitable[Any]]) -> Callable[[Any, Any], Awaitable[None]]:
    """A handler of one request and one answer. What it raises by mistake is logged: the client would only retry it."""

    @functools.wraps(handler)
    async def handle(self: Any, stream: Any) -> None:
        asked = await stream.recv_message()
        try:
            answer = await handler(self, asked)
        except GRPCError:
            raise
        except Exception:
            log.exception("the loopback server failed at %s", handler.__name__)
            raise
        await stream.send_message(answer)

    return handle


def complete(service: Service) -> Service:
    """The service with every call it lacks refused by name: a call nobody foresaw must not pass for one that works."""
    for name in list(service.__abstractmethods__):  # type: ignore[attr-defined]

        async def refuse(self: Any, stream: Any, name: str = name) -> None:
            self.cloud.desk.refused.append(name)
            raise GRPCError(Status.UNIMPLEMENTED, f"the loopback server has no {name}")

        setattr(service, name, refuse)
    service.__abstractmethods__ = frozenset()  # type: ignore[attr-defined]
    return service
