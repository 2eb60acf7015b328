"""A gRPC relay before one replica: it counts and records calls, and loses, holds, doubles and refuses them by rules."""

from __future__ import annotations

import asyncio
import dataclasses
import time
from collections.abc import AsyncIterator
from typing import Any

import grpc
import grpc.aio
from google.protobuf import any_pb2, duration_pb2, timestamp_pb2
from google.rpc import error_details_pb2, status_pb2
from jeton.v1 import token_service_pb2 as pb

MESSAGES = {
    "Issue": (pb.IssueRequest, pb.IssueResponse),
    "Refresh": (pb.RefreshRequest, pb.RefreshResponse),
    "Validate": (pb.ValidateRequest, pb.ValidateResponse),
    "Revoke": (pb.RevokeRequest, pb.RevokeResponse),
}
STREAMS = {"StreamValidate"}


@dataclasses.dataclass
class Call:
    """One call, as the wire saw it."""

    method: str
    at: float
    request: Any
    authorization: str
    certificate: str = ""
    response: Any = None
    code: str = ""  # empty: under way
    messages: int = 0


@dataclasses.dataclass
class Rule:
    """What becomes of calls of a method: the first rule that matches and is not used up decides."""

    act: str
    method: str = "*"
    times: int = 1_000_000_000
    code: str = "UNAVAILABLE"
    reason: str = ""
    domain: str = "jeton.v1"
    metadata: dict[str, str] = dataclasses.field(default_factory=dict)
    retry_s: float = 0.0
    message: str = "The relay refuses. It was told to."
    after: int = 0  # of a stream: messages that are answered before


class Refusal(Exception):
    def __init__(self, rule: Rule) -> None:
        self.rule = rule


class Relay:
    """Listens on loopback, and relays to `upstream`."""

    def __init__(self, upstream: str, secrets: set[str]) -> None:
        self._upstream_address = upstream
        self._secrets = secrets
        self.calls_seen: list[Call] = []
        self.rules: list[Rule] = []
        self.shift_s = 0
        self.refresh_after_s = 0
        self._released = asyncio.Event()
        self.address = ""
        self.url = ""
        self.authority_file = ""

    async def start(self, credentials: grpc.ServerCredentials | None = None) -> None:
        self._upstream = grpc.aio.insecure_channel(self._upstream_address)
        self._server = grpc.aio.server(options=[("grpc.so_reuseport", 0)])
        self._server.add_generic_rpc_handlers([_Handler(self)])
        if credentials is None:
            port = self._server.add_insecure_port("127.0.0.1:0")
            self.url = f"http://127.0.0.1:{port}"
        else:
            port = self._server.add_secure_port("127.0.0.1:0", credentials)
            self.url = f"https://localhost:{port}"
        self.address = f"127.0.0.1:{port}"
        await self._server.start()

    async def stop(self) -> None:
        self._released.set()
        await self._server.stop(None)
        await self._upstream.close()

    def calls(self, method: str) -> list[Call]:
        return [call for call in self.calls_seen if call.method == method]

    def held(self, method: str) -> list[Call]:
        return [call for call in self.calls(method) if not call.code]

    def gap(self, method: str, number: int) -> float:
        """The time between a call and the one before it."""
        calls = self.calls(method)
        return calls[number].at - calls[number - 1].at

    def release(self) -> None:
        """Lets everything go on that is held, and holds nothing more."""
        self.rules = []
        self._released.set()
        self._released = asyncio.Event()

    def _rule(self, method: str) -> Rule | None:
        for rule in self.rules:
            if rule.method in ("*", method) and rule.times > 0:
                rule.times -= 1
                return rule
        return None

    async def unary(self, method: str, path: str, request: bytes, context: Any) -> bytes:
        call = self._seen(method, request, context)
        rule = self._rule(method)
        try:
            answer = await self._act(rule, path, request, context)
            answer = self._rewritten(call, method, answer)
            call.code = "OK"
            return answer
        except grpc.aio.AioRpcError as error:
            call.code = error.code().name
            trailing = tuple((key, value) for key, value in error.trailing_metadata() or ())
            await context.abort(error.code(), error.details() or "", trailing)
        except Refusal as refusal:
            call.code = refusal.rule.code
            await _abort(context, refusal.rule)
        finally:
            call.code = call.code or "CANCELLED"
        raise AssertionError("abort raises")

    async def _act(self, rule: Rule | None, path: str, request: bytes, context: Any) -> bytes:
        act = rule.act if rule else ""
        if act == "refuse":
            raise Refusal(rule)
        if act == "never":
            await asyncio.Event().wait()
        if act == "hold":
            await self._released.wait()
        if act == "twice":
            await self._forward(path, request, context)
        answer = await self._forward(path, request, context)
        if act == "lose":
            raise Refusal(rule)
        if act == "hold_answer":
            await self._released.wait()
        return answer

    async def _forward(self, path: str, request: bytes, context: Any) -> bytes:
        call = self._upstream.unary_unary(path)
        metadata = [(key, value) for key, value in context.invocation_metadata() or () if key == "authorization"]
        return await call(request, metadata=metadata, timeout=30)

    def _seen(self, method: str, request: bytes, context: Any) -> Call:
        parser = MESSAGES.get(method)
        metadata = dict(context.invocation_metadata() or ())
        peer = context.auth_context().get("x509_common_name", [b""])
        message = parser[0].FromString(request) if parser and request else None
        call = Call(method, time.monotonic(), message, str(metadata.get("authorization", "")), peer[0].decode())
        self.calls_seen.append(call)
        return call

    def _rewritten(self, call: Call, method: str, answer: bytes) -> bytes:
        if method not in MESSAGES:
            return answer
        message = MESSAGES[method][1].FromString(answer)
        if method in ("Issue", "Refresh"):
            token = message.token
            self._secrets.update(text for text in (token.access_token, token.refresh.refresh_token) if text)
            if self.refresh_after_s:
                token.refresh_time.seconds = token.issue_time.seconds + self.refresh_after_s
            times = [token.issue_time, token.expire_time, token.refresh_time]
        else:
            verdict = message.verdict if method == "Validate" else None
            times = [verdict.issue_time, verdict.expire_time, verdict.server_time] if verdict else []
        for at in times:
            at.seconds += self.shift_s if at != timestamp_pb2.Timestamp() else 0
        call.response = message
        return message.SerializeToString()

    async def stream(
        self, method: str, path: str, requests: AsyncIterator[bytes], context: Any
    ) -> AsyncIterator[bytes]:
        call = self._seen(method, b"", context)
        rule = self._rule(method)
        if rule and rule.act == "refuse" and not rule.after:
            call.code = rule.code
            await _abort(context, rule)
        metadata = [(key, value) for key, value in context.invocation_metadata() or () if key == "authorization"]

        released = self._released

        async def counted() -> AsyncIterator[bytes]:
            async for request in requests:
                if rule and rule.act == "hold":
                    await released.wait()
                call.messages += 1
                yield request

        answers = 0
        try:
            upstream = self._upstream.stream_stream(path)(counted(), metadata=metadata)
            async for answer in upstream:
                if rule and rule.act == "refuse" and answers >= rule.after:
                    upstream.cancel()
                    call.code = rule.code
                    await _abort(context, rule)
                answers += 1
                yield answer
            call.code = "OK"
        except grpc.aio.AioRpcError as error:
            call.code = error.code().name
            await context.abort(error.code(), error.details() or "", tuple(error.trailing_metadata() or ()))
        finally:
            call.code = call.code or "CANCELLED"


async def _abort(context: Any, rule: Rule) -> None:
    await context.abort(grpc.StatusCode[rule.code], rule.message, trailing(rule))


def trailing(rule: Rule) -> tuple[tuple[str, bytes], ...]:
    """The details of a refusal, as jeton sends them."""
    if not rule.reason and not rule.retry_s:
        return ()
    status = status_pb2.Status(code=grpc.StatusCode[rule.code].value[0], message=rule.message)
    if rule.reason:
        info = error_details_pb2.ErrorInfo(domain=rule.domain, reason=rule.reason, metadata=rule.metadata)
        status.details.append(_packed(info))
    if rule.retry_s:
        delay = duration_pb2.Duration(
            seconds=int(rule.retry_s), nanos=round((rule.retry_s - int(rule.retry_s)) * 1_000_000_000)
        )
        status.details.append(_packed(error_details_pb2.RetryInfo(retry_delay=delay)))
    return (("grpc-status-details-bin", status.SerializeToString()),)


def _packed(message: Any) -> any_pb2.Any:
    packed = any_pb2.Any()
    packed.Pack(message)
    return packed


class _Handler(grpc.GenericRpcHandler):
    def __init__(self, relay: Relay) -> None:
        self._relay = relay

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler:
        path = handler_call_details.method
        method = path.rsplit("/", 1)[1]
        if method in STREAMS:

            async def stream(requests: AsyncIterator[bytes], context: Any) -> AsyncIterator[bytes]:
                async for answer in self._relay.stream(method, path, requests, context):
                    yield answer

            return grpc.stream_stream_rpc_method_handler(stream)

        async def unary(request: bytes, context: Any) -> bytes:
            return await self._relay.unary(method, path, request, context)

        return grpc.unary_unary_rpc_method_handler(unary)
