"""The server: one port for control plane and router, in a thread of its own, with an event loop of its own."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections.abc import Mapping
from typing import Any
from weakref import WeakSet

import grpclib.events
import grpclib.server
from grpclib import GRPCError, Status
from modal._utils.grpc_utils import custom_detail_codec
from modal_proto import api_pb2 as pb

from cooperbench.errors import SandboxLost, SandboxStartError
from cooperbench.eval.backends.base import Network, SandboxSpec
from cooperbench.eval.backends.local import LocalBackend
from tests.loopback.modal import tokens
from tests.loopback.modal.boxes import Box, Result
from tests.loopback.modal.control import Control, tagged
from tests.loopback.modal.faults import Call, Desk, Fault, spoiled, throttled
from tests.loopback.modal.images import Images, Reference
from tests.loopback.modal.router import Router
from tests.loopback.modal.rpc import KEY, TASK, background

_ROUTER = "/modal.task_command_router."
_DEFAULT_LIFETIME, _LONGEST_LIFETIME = 300, 24 * 3600
"""[docs] of sandboxes."""


class Cloud:
    """Modal, as far as one workspace can see. Use it as a context manager; `environment` is what leads to it."""

    def __init__(
        self,
        registry: Mapping[str, Reference],
        *,
        router_seconds: float = 600,
        rate: float = 0,
        policy: bool = True,
    ) -> None:
        """`rate`: sandboxes a second that the workspace may create, 0 for no limit [report: 5 by default]; `policy`:
        whether a refusal says when to come back; `router_seconds`: how long a token for the router is good for."""
        self.desk = Desk()
        self.boxes: dict[str, Box] = {}
        self.stats = False
        """Whether there are figures yet of what sandboxes cost."""
        self.report_killed = False
        """Whether commands that die with a sandbox are told to have been killed; else they are unknown [ours]."""
        self.url = ""
        self._local = LocalBackend()
        self.images = Images(self._local, registry)
        self.control, self._router = Control(self), Router(self)
        self._router_seconds = router_seconds
        self._rate, self._policy, self._tokens, self._counted_at = rate, policy, 5.0, time.monotonic()
        self._answered: dict[str, asyncio.Future[Box]] = {}
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name="modal on loopback", daemon=True)

    # ---------------------------------------------------------------------------------------- being used

    credentials = (tokens.TOKEN_ID, tokens.TOKEN_SECRET)

    @property
    def environment(self) -> dict[str, str]:
        """The variables that make the client library come here, and read no file of this machine's user."""
        return {
            "MODAL_SERVER_URL": self.url,
            "MODAL_TOKEN_ID": tokens.TOKEN_ID,
            "MODAL_TOKEN_SECRET": tokens.TOKEN_SECRET,
            "MODAL_CONFIG_PATH": "/nonexistent/modal.toml",
            "MODAL_DISABLE_API_PROXY": "1",
        }

    def __enter__(self) -> Cloud:
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self._open(), self._loop).result(30)
        return self

    def __exit__(self, *_: object) -> None:
        asyncio.run_coroutine_threadsafe(self._shut(), self._loop).result(60)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(30)
        self._loop.close()
        self.images.discard()
        self._local.close()

    def go_wrong(self, *faults: Fault) -> None:
        """From now on."""
        for fault in faults:
            self.desk.add(fault)

    def spend(self) -> None:
        """The workspace's allowance for creations is used up, as of now."""
        self._tokens, self._counted_at = 0.0, time.monotonic()

    @property
    def alive(self) -> list[Box]:
        """Sandboxes that are not over."""
        return [box for box in self.boxes.values() if box.result is None]

    def kill(self, sandbox_id: str, status: int = Result.GENERIC_STATUS_INTERNAL_FAILURE) -> None:
        """A sandbox dies: its worker is gone."""
        box = self.boxes[sandbox_id]
        asyncio.run_coroutine_threadsafe(box.finish(status, 1, self.report_killed), self._loop).result(30)

    # ---------------------------------------------------------------------------------------- for the services

    def box(self, name: str) -> Box:
        """A sandbox by its own id or its task's."""
        for box in self.boxes.values():
            if name in (box.id, box.task):
                return box
        raise GRPCError(Status.NOT_FOUND, f"Sandbox {name} not found")

    def access(self, box: Box) -> Any:
        """Where its router is, and the token for it."""
        token = tokens.issue(self._router_seconds, task=box.task)
        return pb.CommandRouterAccess(url=self.url, jwt=token)

    async def wait(self, box: Box, seconds: float) -> None:
        """Until it is over, or as long as that."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(box.over.wait(), seconds or 0.001)

    async def create(self, asked: Any, secrets: Mapping[str, str]) -> Box:
        """A new sandbox; asked for again under the same idempotency key, the same one [client]."""
        key = KEY.get()
        if key in self._answered:
            return await asyncio.shield(self._answered[key])
        self._pay()
        made = self._answered[key] = asyncio.ensure_future(self._create(asked, secrets))
        return await asyncio.shield(made)

    def _pay(self) -> None:
        """The workspace's rate limit: a bucket of five."""
        if not self._rate:
            return
        now = time.monotonic()
        self._tokens = min(5.0, self._tokens + (now - self._counted_at) * self._rate)
        self._counted_at = now
        if self._tokens < 1:
            raise throttled((1 - self._tokens) / self._rate if self._policy else None)
        self._tokens -= 1

    async def _create(self, asked: Any, secrets: Mapping[str, str]) -> Box:
        definition, tags = asked.definition, tagged(asked.tags)
        image = self.images.find(definition.image_id)
        if image is None:
            raise GRPCError(Status.NOT_FOUND, f"Image {definition.image_id} not found")
        if definition.name and any(
            box.name == definition.name and box.app_id == asked.app_id for box in self.alive
        ):
            raise GRPCError(Status.ALREADY_EXISTS, f"Sandbox with name '{definition.name}' already exists")
        seconds = definition.timeout_secs or _DEFAULT_LIFETIME
        if seconds > _LONGEST_LIFETIME:
            raise GRPCError(Status.INVALID_ARGUMENT, "timeout must be at most 24 hours")
        spec = SandboxSpec(
            image.local, seconds + 60, definition.workdir or image.workdir, _network(definition), user="root"
        )
        try:
            sandbox = await asyncio.to_thread(self._local.create, spec)
        except SandboxStartError as problem:
            raise GRPCError(Status.INTERNAL, str(problem)) from problem
        box = Box(asked.app_id, definition, tags, sandbox, image, secrets)
        self.boxes[box.id] = box
        self._loop.call_later(seconds, self._expire, box)
        background(self._live(box, [*image.entrypoint, *definition.entrypoint_args]))
        return box

    def _expire(self, box: Box) -> None:
        background(box.finish(Result.GENERIC_STATUS_TIMEOUT))

    async def _live(self, box: Box, argv: list[str]) -> None:
        """Run what the sandbox is there for, and end with it, or when nothing has been asked of it for too long."""
        try:
            main = await box.start(argv, cwd="/", env={}, seconds=0)
        except SandboxLost:  # terminated before it had begun
            return
        idle = box.definition.idle_timeout_secs
        while not main.over and box.result is None:
            if idle and box.idle > idle:
                await box.finish(Result.GENERIC_STATUS_IDLE_TIMEOUT)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(main.until(lambda: main.over), 0.25 if idle else None)
        if main.code is not None:
            good = main.code == 0
            await box.finish(
                Result.GENERIC_STATUS_SUCCESS if good else Result.GENERIC_STATUS_FAILURE, main.code
            )
        main.abandon()

    # ---------------------------------------------------------------------------------------- the wire

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_forever()

    async def _open(self) -> None:
        self._server = _Server([self.control, self._router], status_details_codec=custom_detail_codec)
        grpclib.events.listen(self._server, grpclib.events.RecvRequest, self._receive)
        await self._server.start("127.0.0.1", 0)
        listening = self._server._server
        assert listening is not None
        self.url = f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}"

    async def _shut(self) -> None:
        for box in self.alive:
            await box.finish(Result.GENERIC_STATUS_TERMINATED)
        self._server.close()
        await self._server.wait_closed()
        for transport in self._server.transports:
            transport.abort()
        left = asyncio.all_tasks() - {asyncio.current_task()}
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)
        await asyncio.sleep(0)  # for the loop to let go of what was aborted

    async def _receive(self, event: Any) -> None:
        """Every call: recorded, its sender looked at, what is to go wrong with it looked up."""
        name = event.method_name.rsplit("/", 1)[1]
        given = dict(event.metadata)
        call = Call(name, given.get("x-idempotency-key", ""), given.get("x-retry-attempt", ""))
        self.desk.calls.append(call)
        refusal = self._refusal(event.method_name, given)
        if refusal:
            self.desk.unauthenticated.append(name)
            event.method_func = _refuse(refusal)
            return
        handler = event.method_func
        fault = self.desk.take(name)
        if fault:
            handler = spoiled(fault, handler)

        async def known(stream: Any) -> None:
            KEY.set(call.idempotency_key)
            TASK.set((tokens.claims(_bearer(given)) or {}).get("task", ""))
            await handler(stream)

        event.method_func = known

    def _refusal(self, method: str, given: Mapping[str, str]) -> str:
        """Why this call is not let in; empty if it is."""
        if method.startswith(_ROUTER):
            return (
                ""
                if tokens.claims(_bearer(given))
                else "the token for the command router is not good, or no longer"
            )
        known = given.get("x-modal-token-id"), given.get("x-modal-token-secret")
        if known != (tokens.TOKEN_ID, tokens.TOKEN_SECRET):
            return "Token ID is malformed or unknown"
        # Calls of the second kind of sandbox carry a token of the input plane besides [client].
        if method.endswith("V2") and tokens.claims(given.get("x-modal-auth-token", "")) is None:
            return "no input plane token"
        return ""


class _Server(grpclib.server.Server):
    """With its connections at hand, to be closed."""

    def __init__(self, *given: Any, **more: Any) -> None:
        super().__init__(*given, **more)
        self.transports: WeakSet[asyncio.Transport] = WeakSet()

    def _protocol_factory(self) -> Any:
        protocol = super()._protocol_factory()
        made = protocol.connection_made

        def remember(transport: Any) -> None:
            self.transports.add(transport)
            made(transport)

        protocol.connection_made = remember  # type: ignore[method-assign]
        return protocol


def _bearer(given: Mapping[str, str]) -> str:
    return given.get("authorization", "").removeprefix("Bearer ")


def _refuse(why: str) -> Any:
    async def refuse(stream: Any) -> None:
        raise GRPCError(Status.UNAUTHENTICATED, why)

    return refuse


def _network(definition: Any) -> Network:
    """[ours] An allow-list lets nothing through here: nothing on it can be reached from loopback."""
    kind = definition.network_access.network_access_type
    return "open" if kind in (pb.NetworkAccess.UNSPECIFIED, pb.NetworkAccess.OPEN) else "none"
