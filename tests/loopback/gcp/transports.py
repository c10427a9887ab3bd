"""How Batch is reached: gRPC over TLS with the caller's self-signed JWT, and REST with an access token."""

from __future__ import annotations

import concurrent.futures
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

import grpc
from google.api_core import exceptions
from google.cloud import batch_v1
from google.longrunning import operations_pb2
from google.protobuf import json_format

from tests.loopback.gcp import keys
from tests.loopback.gcp.accounts import Accounts
from tests.loopback.gcp.service import BatchService
from tests.loopback.gcp.traffic import Call, Traffic, wait_at_gate
from tests.loopback.gcp.web import Operation, Refused, Reply, Request

_OPERATIONS = "google.longrunning.Operations"
_BATCH = "google.cloud.batch.v1.BatchService"
_REQUESTS: dict[str, Any] = {
    "CreateJob": batch_v1.CreateJobRequest,
    "GetJob": batch_v1.GetJobRequest,
    "ListJobs": batch_v1.ListJobsRequest,
    "DeleteJob": batch_v1.DeleteJobRequest,
    "CancelJob": batch_v1.CancelJobRequest,
    "GetTask": batch_v1.GetTaskRequest,
    "ListTasks": batch_v1.ListTasksRequest,
}
_PERMISSIONS = {
    "CreateJob": "batch.jobs.create",
    "GetJob": "batch.jobs.get",
    "ListJobs": "batch.jobs.list",
    "DeleteJob": "batch.jobs.delete",
    "CancelJob": "batch.jobs.cancel",
    "GetTask": "batch.tasks.get",
    "ListTasks": "batch.tasks.list",
    "GetOperation": "batch.operations.get",
}
_ERRORS: dict[int, type[exceptions.GoogleAPICallError]] = {
    401: exceptions.Unauthenticated,
    403: exceptions.PermissionDenied,
    404: exceptions.NotFound,
    429: exceptions.ResourceExhausted,
    500: exceptions.InternalServerError,
    503: exceptions.ServiceUnavailable,
    504: exceptions.DeadlineExceeded,
}
_ACT_AS = "iam.serviceAccounts.actAs"


def _subject(request: Any) -> str:
    if isinstance(request, batch_v1.CreateJobRequest):
        return str(request.job_id)
    return str(getattr(request, "name", "") or request.parent)


class Gate:
    """Who may call, what goes wrong on purpose: the same on both transports."""

    def __init__(self, service: BatchService, traffic: Traffic, accounts: Accounts) -> None:
        self._service = service
        self._traffic = traffic
        self._accounts = accounts

    def call(self, method: str, request: Any, account: str) -> Any:
        """The answer; None when it is lost on the way."""
        fault = self._traffic.record(Call(f"batch.{method}", _subject(request), account))
        if fault and fault.status:
            raise _ERRORS[fault.status](fault.message)
        if not account:
            raise exceptions.Unauthenticated("Request had invalid authentication credentials.")
        needed = [_PERMISSIONS[method], *([_ACT_AS] if method == "CreateJob" else [])]
        for permission in needed:
            if not self._accounts.may(account, permission, None, ""):
                raise exceptions.PermissionDenied(
                    f"Permission '{permission}' denied on resource (or it may not exist)"
                )
        try:
            answer = getattr(self._service, method)(request)
        finally:
            wait_at_gate(fault)
        return None if fault and fault.lost else answer


class GrpcServer:
    """Batch on a TLS port of ``localhost``."""

    def __init__(self, gate: Gate, traffic: Traffic, accounts: Accounts) -> None:
        self._gate = gate
        self._accounts = accounts
        certificate = keys.certificate()
        self._pool = concurrent.futures.ThreadPoolExecutor(16, thread_name_prefix="batch")
        self._server = grpc.server(self._pool, options=[("grpc.so_reuseport", 0)])
        self._server.add_generic_rpc_handlers((_Handlers(self._handle, traffic),))
        credentials = grpc.ssl_server_credentials([(certificate.private, certificate.chain)])
        self.port = self._server.add_secure_port("127.0.0.1:0", credentials)
        self._server.start()

    def close(self) -> None:
        """No more calls."""
        self._server.stop(0).wait()
        self._pool.shutdown()

    def _handle(self, method: str, request: Any, context: grpc.ServicerContext) -> Any:
        metadata = dict(context.invocation_metadata())
        account = self._accounts.caller(str(metadata.get("authorization", ""))) or ""
        try:
            answer = self._gate.call(method, request, account)
        except exceptions.GoogleAPICallError as refusal:
            context.abort(refusal.grpc_status_code or grpc.StatusCode.UNKNOWN, refusal.message)
        if answer is None:
            context.abort(grpc.StatusCode.UNAVAILABLE, "Socket closed")
        return answer


class _Handlers(grpc.GenericRpcHandler):
    """By name; what is not served is noted and UNIMPLEMENTED."""

    def __init__(self, handle: Callable[..., Any], traffic: Traffic) -> None:
        self._traffic = traffic
        made: dict[str, grpc.RpcMethodHandler] = {}
        for name, kind in _REQUESTS.items():
            made[f"/{_BATCH}/{name}"] = _handler(handle, name, kind.deserialize)
        decode = operations_pb2.GetOperationRequest.FromString
        made[f"/{_OPERATIONS}/GetOperation"] = _handler(handle, "GetOperation", decode)
        self._made = made

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler | None:
        """The handler of one call."""
        found = self._made.get(handler_call_details.method)
        if found is None:
            self._traffic.unknown.append(handler_call_details.method)
        return found


def _handler(handle: Callable[..., Any], name: str, decode: Callable[[bytes], Any]) -> grpc.RpcMethodHandler:
    def call(request: Any, context: grpc.ServicerContext) -> Any:
        return handle(name, request, context)

    return grpc.unary_unary_rpc_method_handler(call, decode, _encoded)


def _encoded(message: Any) -> bytes:
    if isinstance(message, operations_pb2.Operation):
        return message.SerializeToString()
    return bytes(type(message).serialize(message))


# ---------------------------------------------------------------------------------------------- REST


@dataclass(frozen=True, slots=True)
class _Shape:
    """One method of the REST surface."""

    verb: str
    path: re.Pattern[str]
    method: str
    make: Callable[[str, Mapping[str, str], bytes], Any]


def _create(parent: str, query: Mapping[str, str], body: bytes) -> Any:
    job = batch_v1.Job.from_json(body.decode())  # refuses fields it does not know
    return batch_v1.CreateJobRequest(
        parent=parent, job_id=query.get("jobId", ""), request_id=query.get("requestId", ""), job=job
    )


def _list(kind: Any) -> Callable[[str, Mapping[str, str], bytes], Any]:
    def make(parent: str, query: Mapping[str, str], _: bytes) -> Any:
        size, token = int(query.get("pageSize", 0)), query.get("pageToken", "")
        return kind(parent=parent, filter=query.get("filter", ""), page_size=size, page_token=token)

    return make


def _named(kind: Any) -> Callable[[str, Mapping[str, str], bytes], Any]:
    return lambda name, _query, _body: kind(name=name)


_JOB = "projects/[^/]+/locations/[^/]+/jobs/[^/:]+"
_PARENT = "projects/[^/]+/locations/[^/]+"
_SHAPES = [
    _Shape(verb, re.compile(path), method, make)
    for verb, path, method, make in (
        ("POST", f"/v1/({_PARENT})/jobs", "CreateJob", _create),
        ("GET", f"/v1/({_PARENT})/jobs", "ListJobs", _list(batch_v1.ListJobsRequest)),
        ("GET", f"/v1/({_JOB})", "GetJob", _named(batch_v1.GetJobRequest)),
        ("DELETE", f"/v1/({_JOB})", "DeleteJob", _named(batch_v1.DeleteJobRequest)),
        ("POST", f"/v1/({_JOB}):cancel", "CancelJob", _named(batch_v1.CancelJobRequest)),
        ("GET", f"/v1/({_JOB}/taskGroups/[^/]+)/tasks", "ListTasks", _list(batch_v1.ListTasksRequest)),
        ("GET", f"/v1/({_JOB}/taskGroups/[^/]+/tasks/[^/]+)", "GetTask", _named(batch_v1.GetTaskRequest)),
        (
            "GET",
            f"/v1/({_PARENT}/operations/[^/]+)",
            "GetOperation",
            _named(operations_pb2.GetOperationRequest),
        ),
    )
]


class RestApi:
    """Batch as JSON over HTTP."""

    def __init__(self, gate: Gate, accounts: Accounts) -> None:
        self._gate = gate
        self._accounts = accounts

    def route(self, request: Request) -> Operation | None:
        """What a request asks for, if it is for Batch."""
        for shape in _SHAPES:
            found = shape.path.fullmatch(request.path)
            if found and request.method == shape.verb:
                return Operation("batch.rest", shape.method, lambda: self._act(shape, found[1], request))  # noqa: B023
        return None

    def _act(self, shape: _Shape, name: str, request: Request) -> Reply:
        account = self._accounts.caller(request.headers.get("authorization", "")) or ""
        try:
            message = shape.make(name, request.query, request.body)
        except (json_format.ParseError, ValueError) as error:
            raise Refused(400, str(error)) from error
        try:
            answer = self._gate.call(shape.method, message, account)
        except exceptions.GoogleAPICallError as refusal:
            raise Refused(int(refusal.code or HTTPStatus.INTERNAL_SERVER_ERROR), refusal.message) from refusal
        if answer is None:
            raise Refused(503, "the answer was lost")
        if isinstance(answer, operations_pb2.Operation):
            return Reply(200, json_format.MessageToJson(answer).encode())
        integers = "enum-encoding=int" in request.query.get("$alt", "")
        return Reply(200, type(answer).to_json(answer, use_integers_for_enums=integers).encode())
