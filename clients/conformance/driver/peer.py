"""EchoService of the driver, which judges tokens by a real jeton or refuses all of them, and calls to guarded ones."""

from __future__ import annotations

import asyncio
import hashlib
import json
from typing import Any

import grpc
import grpc.aio
from google.rpc import error_details_pb2, status_pb2
from jeton.conformance.v1 import echo_pb2, echo_pb2_grpc
from jeton.v1 import token_pb2
from jeton.v1 import token_service_pb2 as pb
from jeton.v1 import token_service_pb2_grpc as token_grpc

from .relay import Rule, trailing


class Peer(echo_pb2_grpc.EchoServiceServicer):
    """A service that a runner calls with its token source."""

    def __init__(self, replica: str, api_key: str, audience: str) -> None:
        self._replica, self._api_key, self._audience = replica, api_key, audience
        self.refuse_all = ""  # a reason, or "-" for a refusal without ErrorInfo
        self.tokens: list[str] = []  # in the order of the calls

    async def start(self) -> None:
        self._channel = grpc.aio.insecure_channel(self._replica)
        self._jeton = token_grpc.TokenServiceStub(self._channel)
        self._server = grpc.aio.server(options=[("grpc.so_reuseport", 0)])
        echo_pb2_grpc.add_EchoServiceServicer_to_server(self, self._server)
        port = self._server.add_insecure_port("127.0.0.1:0")
        self.url = f"http://127.0.0.1:{port}"
        await self._server.start()

    async def stop(self) -> None:
        await self._server.stop(None)
        await self._channel.close()

    async def _judge(self, context: Any) -> token_pb2.Verdict:
        token = dict(context.invocation_metadata()).get("authorization", "").removeprefix("Bearer ")
        self.tokens.append(token)
        if self.refuse_all == "-":
            await context.abort(grpc.StatusCode.UNAUTHENTICATED, "No.")
        if self.refuse_all:
            await self._refuse(context, self.refuse_all)
        request = pb.ValidateRequest(token=token, audiences=[self._audience])
        metadata = [("authorization", f"Bearer {self._api_key}")]
        verdict = (await self._jeton.Validate(request, metadata=metadata, timeout=30)).verdict
        if verdict.status != token_pb2.TOKEN_STATUS_ACTIVE:
            await self._refuse(context, token_pb2.TokenStatus.Name(verdict.status).removeprefix("TOKEN_STATUS_"))
        return verdict

    @staticmethod
    async def _refuse(context: Any, reason: str) -> None:
        rule = Rule(
            "refuse", code="UNAUTHENTICATED", reason=reason, domain="guard.jeton.v1", message=f"It is {reason}."
        )
        await context.abort(grpc.StatusCode.UNAUTHENTICATED, rule.message, trailing(rule))

    async def Echo(self, request: echo_pb2.EchoRequest, context: Any) -> echo_pb2.EchoResponse:  # noqa: N802
        verdict = await self._judge(context)
        return echo_pb2.EchoResponse(text=request.text, subject=verdict.subject, jti=verdict.jti)

    async def Watch(self, request: echo_pb2.WatchRequest, context: Any) -> Any:  # noqa: N802
        await self._judge(context)
        number = 0
        while True:
            number += 1
            yield echo_pb2.WatchResponse(number=number)
            await asyncio.sleep(0.05)


class Caller:
    """Calls a guarded service of a runner, by gRPC and by HTTP."""

    def __init__(
        self, grpc_address: str, http_address: str | None, credentials: grpc.ChannelCredentials | None
    ) -> None:
        self.http_address = http_address
        if credentials is None:
            self._channel = grpc.aio.insecure_channel(grpc_address)
        else:
            self._channel = grpc.aio.secure_channel(f"localhost:{grpc_address.rpartition(':')[2]}", credentials)
        self._stub = echo_pb2_grpc.EchoServiceStub(self._channel)

    async def close(self) -> None:
        await self._channel.close()

    async def echo(self, headers: list[str]) -> dict[str, Any]:
        """Calls Echo with these values of `authorization`."""
        metadata = [("authorization", value) for value in headers]
        try:
            answer = await self._stub.Echo(echo_pb2.EchoRequest(text="hello"), metadata=metadata, timeout=60)
        except grpc.aio.AioRpcError as error:
            return _refused(error)
        return {
            "code": "OK",
            "reason": "",
            "subject": answer.subject,
            "audiences": list(answer.audiences),
            "scopes": list(answer.scopes),
            "jti": answer.jti,
            "client_id": answer.client_id,
            "session_id": answer.session_id,
            "claims": dict(answer.claims),
        }

    async def watch(self, headers: list[str], seen: dict[str, Any]) -> dict[str, Any]:
        """Reads Watch to its end; counts in `seen["messages"]`."""
        metadata = [("authorization", value) for value in headers]
        try:
            async for _ in self._stub.Watch(echo_pb2.WatchRequest(), metadata=metadata):
                seen["messages"] += 1
        except grpc.aio.AioRpcError as error:
            return _refused(error)
        return {"code": "OK", "reason": ""}

    async def http(self, headers: list[str]) -> dict[str, Any]:
        """GET /echo. An own reader: it must be able to send a header twice."""
        host, _, port = str(self.http_address).rpartition(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        lines = ["GET /echo HTTP/1.1", f"host: {host}", "connection: close"]
        lines += [f"authorization: {value}" for value in headers]
        writer.write(("\r\n".join(lines) + "\r\n\r\n").encode())
        raw = await asyncio.wait_for(reader.read(), 60)
        writer.close()
        head, _, body = raw.partition(b"\r\n\r\n")
        first, *rest = head.decode("latin-1").split("\r\n")
        fields = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in rest)}
        if "chunked" in fields.get("transfer-encoding", ""):
            body = _unchunked(body)
        return {
            "status": int(first.split(" ")[1]),
            "www_authenticate": fields.get("www-authenticate", ""),
            "retry_after": fields.get("retry-after", ""),
            "body": json.loads(body) if body else {},
        }


def _unchunked(body: bytes) -> bytes:
    whole = b""
    while body:
        size, _, body = body.partition(b"\r\n")
        length = int(size, 16)
        whole, body = whole + body[:length], body[length + 2 :]
    return whole


def _refused(error: grpc.aio.AioRpcError) -> dict[str, Any]:
    info, retry = error_details_pb2.ErrorInfo(), error_details_pb2.RetryInfo()
    for key, value in error.trailing_metadata() or ():
        if key == "grpc-status-details-bin":
            for detail in status_pb2.Status.FromString(value).details:
                _ = detail.Unpack(info) or detail.Unpack(retry)
    return {
        "code": error.code().name,
        "reason": info.reason,
        "domain": info.domain,
        "retry_s": retry.retry_delay.ToTimedelta().total_seconds(),
        "message": error.details() or "",
    }


def thumbprint(der: bytes) -> str:
    """`x5t#S256` of RFC 8705."""
    import base64

    return base64.urlsafe_b64encode(hashlib.sha256(der).digest()).rstrip(b"=").decode()
