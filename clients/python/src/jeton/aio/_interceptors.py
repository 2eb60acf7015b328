"""How calls of gRPC get the token of a source, on a loop."""

from __future__ import annotations

import asyncio
import time
from typing import Any, Protocol

import grpc
import grpc.aio

from .._peers import another_token_may_help
from .._renewal import Token
from ..errors import JetonError


class Source(Protocol):
    """What calls need of a token source."""

    async def get(self, timeout: float = 10.0) -> Token: ...

    async def authorization(self, timeout: float = 10.0) -> str: ...

    async def instead_of(self, refused: Token, timeout: float = 10.0) -> Token | None: ...


def _with(details: grpc.aio.ClientCallDetails, token: Token, end: float | None) -> grpc.aio.ClientCallDetails:
    metadata = grpc.aio.Metadata()
    for key, value in details.metadata or ():
        if key.lower() != "authorization":
            metadata.add(key, value)
    metadata.add("authorization", f"Bearer {token.reveal()}")
    left = None if end is None else max(end - time.monotonic(), 0.001)
    return grpc.aio.ClientCallDetails(details.method, left, metadata, details.credentials, details.wait_for_ready)


async def _token(source: Source, timeout: float | None) -> Token:
    try:
        return await source.get(10.0 if timeout is None else timeout)
    except JetonError as error:
        code = grpc.StatusCode.UNAVAILABLE if error.code is grpc.StatusCode.UNKNOWN else error.code
        empty = grpc.aio.Metadata()
        told = f"There is no token for this call: {error.message}"
        raise grpc.aio.AioRpcError(code, empty, empty, details=told) from error


class _UnaryUnary(grpc.aio.UnaryUnaryClientInterceptor):
    def __init__(self, source: Source) -> None:
        self._source = source

    async def intercept_unary_unary(self, continuation: Any, client_call_details: Any, request: Any) -> Any:
        timeout = client_call_details.timeout
        end = None if timeout is None else time.monotonic() + timeout
        token = await _token(self._source, timeout)
        call = await continuation(_with(client_call_details, token, end), request)
        if not another_token_may_help(await call.code(), await call.trailing_metadata()):
            return call
        other = await self._source.instead_of(token, 10.0 if end is None else max(end - time.monotonic(), 0.0))
        if other is None or (end is not None and time.monotonic() >= end):
            return call
        return await continuation(_with(client_call_details, other, end), request)


class _UnaryStream(grpc.aio.UnaryStreamClientInterceptor):
    def __init__(self, source: Source) -> None:
        self._source = source

    async def intercept_unary_stream(self, continuation: Any, client_call_details: Any, request: Any) -> Any:
        return await _once(self._source, continuation, client_call_details, request)


class _StreamUnary(grpc.aio.StreamUnaryClientInterceptor):
    def __init__(self, source: Source) -> None:
        self._source = source

    async def intercept_stream_unary(self, continuation: Any, client_call_details: Any, request_iterator: Any) -> Any:
        return await _once(self._source, continuation, client_call_details, request_iterator)


class _StreamStream(grpc.aio.StreamStreamClientInterceptor):
    def __init__(self, source: Source) -> None:
        self._source = source

    async def intercept_stream_stream(self, continuation: Any, client_call_details: Any, request_iterator: Any) -> Any:
        return await _once(self._source, continuation, client_call_details, request_iterator)


async def _once(source: Source, continuation: Any, details: Any, requests: Any) -> Any:
    end = None if details.timeout is None else time.monotonic() + details.timeout
    token = await _token(source, details.timeout)
    return await continuation(_with(details, token, end), requests)


def interceptors(source: Source) -> list[grpc.aio.ClientInterceptor]:
    """One for each kind of call, as grpc.aio wants them."""
    return [_UnaryUnary(source), _UnaryStream(source), _StreamUnary(source), _StreamStream(source)]


class CallCredentialsPlugin(grpc.AuthMetadataPlugin):
    """Gives gRPC the token. gRPC calls it in a thread of its own; the source stays on its loop."""

    def __init__(self, source: Source, loop: asyncio.AbstractEventLoop) -> None:
        self._source, self._loop = source, loop

    def __call__(self, context: grpc.AuthMetadataContext, callback: grpc.AuthMetadataPluginCallback) -> None:
        async def give() -> None:
            try:
                value = await self._source.authorization()
            except Exception as error:  # noqa: BLE001 # gRPC must hear of it
                callback((), error)
            else:
                callback((("authorization", value),), None)

        asyncio.run_coroutine_threadsafe(give(), self._loop)
