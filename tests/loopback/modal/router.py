"""The task command router: where commands go, past the control plane, with a token of the sandbox's own."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any

from grpclib import GRPCError, Status
from modal_proto import task_command_router_grpc
from modal_proto import task_command_router_pb2 as pb

from cooperbench.errors import SandboxLost
from tests.loopback.modal import fstools
from tests.loopback.modal.boxes import Box, Process, lost
from tests.loopback.modal.rpc import TASK, complete, unary

if TYPE_CHECKING:
    from tests.loopback.modal.server import Cloud

_PIECE = 1 << 20
_STREAMS = {
    pb.TASK_EXEC_STDIO_FILE_DESCRIPTOR_STDOUT: 1,
    pb.TASK_EXEC_STDIO_FILE_DESCRIPTOR_STDERR: 2,
}


@complete
class Router(task_command_router_grpc.TaskCommandRouterBase):
    """See the module."""

    def __init__(self, cloud: Cloud) -> None:
        self.cloud = cloud
        self._starting: dict[str, asyncio.Lock] = {}

    def _box(self, task: str) -> Box:
        """The sandbox, if it lives: the router of one that does not knows nothing any more [client]."""
        if task != TASK.get():
            raise GRPCError(Status.PERMISSION_DENIED, "the token is for another task")
        box = self.cloud.box(task)
        if box.result is not None:
            raise GRPCError(Status.NOT_FOUND, "Sandbox already shut down")
        return box

    def _process(self, asked: Any) -> Process:
        process = self._box(asked.task_id).processes.get(asked.exec_id)
        if process is None:
            raise GRPCError(Status.NOT_FOUND, f"no such exec: {asked.exec_id}")
        return process

    @unary
    async def TaskExecStart(self, asked: Any) -> Any:
        """Sent again with the same id it is the same command [client: the id doubles as idempotency key]."""
        box = self._box(asked.task_id)
        async with self._starting.setdefault(asked.exec_id, asyncio.Lock()):
            if asked.exec_id not in box.processes:
                argv = list(asked.command_args)
                if argv[0] == fstools.PATH:
                    argv = fstools.command(argv[1])
                env = self.cloud.control.environment(asked.secret_sources)
                try:
                    box.processes[asked.exec_id] = await box.start(
                        argv, cwd=asked.workdir, env=env, seconds=asked.timeout_secs
                    )
                except SandboxLost as problem:
                    raise GRPCError(Status.NOT_FOUND, lost(problem)) from problem
        self._starting.pop(asked.exec_id, None)
        return pb.TaskExecStartResponse()

    async def TaskExecStdioRead(self, stream: Any) -> None:
        """Everything from an offset on, until nobody holds the stream any more, background processes included."""
        asked = await stream.recv_message()
        process, which, at = self._process(asked), _STREAMS[asked.file_descriptor], asked.offset
        while piece := await process.read(which, at, _PIECE):
            await stream.send_message(pb.TaskExecStdioReadResponse(data=piece))
            at += len(piece)
        if process.lost:
            raise GRPCError(Status.NOT_FOUND, "Sandbox already shut down")

    @unary
    async def TaskExecWait(self, asked: Any) -> Any:
        process = self._process(asked)
        await process.until(lambda: process.over)
        if process.code is None:
            raise GRPCError(Status.NOT_FOUND, "Sandbox already shut down")
        return pb.TaskExecWaitResponse(code=process.code)

    @unary
    async def TaskExecPoll(self, asked: Any) -> Any:
        process = self._process(asked)
        return pb.TaskExecPollResponse(code=process.code) if process.over else pb.TaskExecPollResponse()

    @unary
    async def TaskExecStdinWrite(self, asked: Any) -> Any:
        await self._feed(self._process(asked), asked.offset, asked.data, asked.eof)
        return pb.TaskExecStdinWriteResponse()

    @unary
    async def TaskExecStdinStatus(self, asked: Any) -> Any:
        process = self._process(asked)
        return pb.TaskExecStdinStatusResponse(num_bytes_written=process.received, closed=process.stdin_closed)

    async def TaskExecStdinWriteStream(self, stream: Any) -> None:
        begun = (await stream.recv_message()).start
        process, offset = self._process(begun), begun.offset
        while (message := await stream.recv_message()) is not None:
            await self._feed(process, offset, message.data, message.WhichOneof("payload") == "end")
            offset += len(message.data)
        with contextlib.suppress(asyncio.CancelledError):
            await stream.send_message(pb.TaskExecStdinWriteStreamResponse())

    async def _feed(self, process: Process, offset: int, data: bytes, end: bool) -> None:
        try:
            await process.feed(offset, data, end)
        except BrokenPipeError as problem:
            raise GRPCError(Status.FAILED_PRECONDITION, "stdin is closed") from problem

    @unary
    async def TaskSnapshotFilesystem(self, asked: Any) -> Any:
        box = self._box(asked.task_id)
        return pb.TaskSnapshotFilesystemResponse(
            image_id=await self.cloud.images.snapshot(box.sandbox, box.base)
        )
