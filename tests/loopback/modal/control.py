"""The control plane: apps, images, sandboxes. Every call the backend makes, and nothing else."""

from __future__ import annotations

import re
import uuid
from typing import TYPE_CHECKING, Any

from google.protobuf.empty_pb2 import Empty
from grpclib import GRPCError, Status
from modal_proto import api_grpc
from modal_proto import api_pb2 as pb

from tests.loopback.modal import tokens
from tests.loopback.modal.boxes import Box, Result
from tests.loopback.modal.images import BuildFailed
from tests.loopback.modal.rpc import complete, unary

if TYPE_CHECKING:
    from tests.loopback.modal.server import Cloud

_PAGE = 25
"""Sandboxes on one page of a list; the client asks until a page is empty [client]."""


@complete
class Control(api_grpc.ModalClientBase):
    """See the module."""

    def __init__(self, cloud: Cloud) -> None:
        self.cloud = cloud
        self.secrets: dict[str, dict[str, str]] = {}
        self._apps: dict[str, str] = {}

    # ---------------------------------------------------------------------------------------- the workspace

    @unary
    async def ClientHello(self, asked: Any) -> Any:
        return pb.ClientHelloResponse()

    @unary
    async def AuthTokenGet(self, asked: Any) -> Any:
        return pb.AuthTokenGetResponse(token=tokens.issue(1200, what="input plane"))

    @unary
    async def EnvironmentGetOrCreate(self, asked: Any) -> Any:
        # A builder up to 2024.10 would make the client add layers of its own [client].
        settings = pb.EnvironmentSettings(image_builder_version="2025.06")
        metadata = pb.EnvironmentMetadata(name=asked.deployment_name or "main", settings=settings)
        return pb.EnvironmentGetOrCreateResponse(environment_id="en-1", metadata=metadata)

    @unary
    async def AppGetOrCreate(self, asked: Any) -> Any:
        if asked.app_name not in self._apps:
            if asked.object_creation_type != pb.OBJECT_CREATION_TYPE_CREATE_IF_MISSING:
                raise GRPCError(Status.NOT_FOUND, f"App '{asked.app_name}' not found")
            self._apps[asked.app_name] = "ap-" + uuid.uuid4().hex[:22]
        return pb.AppGetOrCreateResponse(app_id=self._apps[asked.app_name])

    @unary
    async def SecretGetOrCreate(self, asked: Any) -> Any:
        name = asked.deployment_name
        if name not in self.secrets:
            raise GRPCError(Status.NOT_FOUND, f"Secret '{name}' not found")
        return pb.SecretGetOrCreateResponse(
            secret_id=f"st-{name}", metadata=pb.SecretMetadata(name=name, keys=list(self.secrets[name]))
        )

    # ---------------------------------------------------------------------------------------- images

    @unary
    async def ImageGetOrCreate(self, asked: Any) -> Any:
        image_id = self.cloud.images.ask(
            asked.image, self.secret(asked.image.image_registry_config.secret_id)
        )
        done = self.cloud.images.find(image_id) is not None
        result = Result(status=Result.GENERIC_STATUS_SUCCESS) if done else None
        return pb.ImageGetOrCreateResponse(image_id=image_id, result=result, metadata=pb.ImageMetadata())

    async def ImageJoinStreaming(self, stream: Any) -> None:
        asked = await stream.recv_message()
        try:
            await self.cloud.images.join(asked.image_id)
            result = Result(status=Result.GENERIC_STATUS_SUCCESS)
        except BuildFailed as problem:
            result = Result(status=Result.GENERIC_STATUS_FAILURE, exception=str(problem))
        await stream.send_message(
            pb.ImageJoinStreamingResponse(result=result, eof=True, metadata=pb.ImageMetadata())
        )

    @unary
    async def ImageFromId(self, asked: Any) -> Any:
        if self.cloud.images.find(asked.image_id) is None:
            raise GRPCError(Status.NOT_FOUND, f"Image {asked.image_id} not found")
        return pb.ImageFromIdResponse(image_id=asked.image_id, metadata=pb.ImageMetadata())

    # ---------------------------------------------------------------------------------------- sandboxes

    @unary
    async def SandboxCreateV2(self, asked: Any) -> Any:
        box = await self.cloud.create(asked, self.environment(asked.secret_sources))
        return pb.SandboxCreateV2Response(
            sandbox_id=box.id,
            task_id=box.task,
            metadata=pb.SandboxHandleMetadata(app_id=box.app_id),
            command_router_access=self.cloud.access(box),
        )

    def environment(self, sources: Any) -> dict[str, str]:
        """Variables given inline or by a secret's name."""
        given: dict[str, str] = {}
        for source in sources:
            given |= dict(source.env.contents) if source.HasField("env") else self.secret(source.secret_id)
        return given

    def secret(self, secret_id: str) -> dict[str, str]:
        """What is in a secret."""
        return self.secrets.get(secret_id.removeprefix("st-"), {})

    @unary
    async def SandboxGetCommandRouterAccess(self, asked: Any) -> Any:
        access = self.cloud.access(self.cloud.box(asked.sandbox_id or asked.task_id))
        return pb.SandboxGetCommandRouterAccessResponse(url=access.url, jwt=access.jwt)

    @unary
    async def SandboxGetTaskIdV2(self, asked: Any) -> Any:
        box = self.cloud.box(asked.sandbox_id)
        return pb.SandboxGetTaskIdResponse(task_id=box.task, task_result=box.result)

    @unary
    async def SandboxGetFromNameV2(self, asked: Any) -> Any:
        for box in self.cloud.alive:
            if box.name == asked.sandbox_name and box.app_id == self._apps.get(asked.app_name):
                return pb.SandboxGetFromNameResponse(sandbox_id=box.id, metadata=self._handle(box))
        raise GRPCError(Status.NOT_FOUND, f"Sandbox with name '{asked.sandbox_name}' not found")

    @unary
    async def SandboxGetFromName(self, asked: Any) -> Any:
        """The client looks among sandboxes of the earlier kind too [client]; there are none."""
        raise GRPCError(Status.NOT_FOUND, f"Sandbox with name '{asked.sandbox_name}' not found")

    @unary
    async def SandboxWaitV2(self, asked: Any) -> Any:
        box = self.cloud.box(asked.sandbox_id)
        await self.cloud.wait(box, asked.timeout)
        return pb.SandboxWaitResponse(result=box.result, metadata=self._handle(box))

    @unary
    async def SandboxTerminateV2(self, asked: Any) -> Any:
        await self.cloud.box(asked.sandbox_id).finish(Result.GENERIC_STATUS_TERMINATED)
        return pb.SandboxTerminateResponse()

    @unary
    async def SandboxListV2(self, asked: Any) -> Any:
        wanted = tagged(asked.tags)
        found = [
            box
            for box in self.cloud.boxes.values()
            if box.result is None
            and box.app_id == asked.app_id
            and wanted.items() <= box.tags.items()
            and (not asked.before_timestamp or box.created < asked.before_timestamp)
        ]
        found.sort(key=lambda box: -box.created)
        return pb.SandboxListResponse(
            sandboxes=[
                pb.SandboxInfo(
                    id=box.id,
                    created_at=box.created,
                    app_id=box.app_id,
                    task_info=pb.TaskInfo(id=box.task),
                    metadata=self._handle(box),
                )
                for box in found[:_PAGE]
            ]
        )

    @unary
    async def SandboxTagsGetV2(self, asked: Any) -> Any:
        tags = self.cloud.box(asked.sandbox_id).tags
        return pb.SandboxTagsGetResponse(
            tags=[pb.SandboxTag(tag_name=name, tag_value=value) for name, value in tags.items()]
        )

    @unary
    async def SandboxTagsSetV2(self, asked: Any) -> Any:
        self.cloud.box(asked.sandbox_id).tags = tagged(asked.tags)
        return Empty()

    @unary
    async def SandboxGetStats(self, asked: Any) -> Any:
        """Figures come late [client: "delayed by a few minutes"]; until then there is no cost."""
        box = self.cloud.box(asked.sandbox_id)
        if not self.cloud.stats:
            return pb.SandboxGetStatsResponse()
        return pb.SandboxGetStatsResponse(cost=f"{box.cost:.6f}", cost_by_resource={"CPU": f"{box.cost:.6f}"})

    @staticmethod
    def _handle(box: Box) -> Any:
        return pb.SandboxHandleMetadata(app_id=box.app_id)


def tagged(tags: Any) -> dict[str, str]:
    """Tags by name; they are refused as the client refuses those of apps [client: name_utils.py]."""
    found = {tag.tag_name: tag.tag_value for tag in tags}
    for text in (*found, *found.values()):
        if re.fullmatch(r"[a-zA-Z0-9._-]{1,63}", text) is None:
            raise GRPCError(Status.INVALID_ARGUMENT, f"Invalid tag: {text!r}")
    return found
