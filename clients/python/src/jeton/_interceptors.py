"""How calls of gRPC get the token of a source."""

from __future__ import annotations

import collections
import time
from collections.abc import Callable
from typing import Any, Protocol

import grpc

from ._peers import another_token_may_help
from ._renewal import Token
from .errors import JetonError


class Source(Protocol):
    """What calls need of a token source."""

    def get(self, timeout: float = 10.0) -> Token: ...

    def authorization(self, timeout: float = 10.0) -> str: ...

    def instead_of(self, refused: Token, timeout: float = 10.0) -> Token | None: ...


class _Details(
    collections.namedtuple(
        "_Details", ("method", "timeout", "metadata", "credentials", "wait_for_ready", "compression")
    ),
    grpc.ClientCallDetails,
):
    pass


def _with(details: Any, token: Token, timeout: float | None) -> _Details:
    kept = [(key, value) for key, value in details.metadata or () if key.lower() != "authorization"]
    return _Details(
        details.method,
        timeout,
        [*kept, ("authorization", f"Bearer {token.reveal()}")],
        details.credentials,
        getattr(details, "wait_for_ready", None),
        getattr(details, "compression", None),
    )


class _Failed(grpc.RpcError, grpc.Call, grpc.Future):  # type: ignore[misc] # abstract halves that are not used
    """A call that was not made, because there is no token."""

    def __init__(self, error: JetonError) -> None:
        super().__init__(error.message)
        self._error = error
        self.__cause__ = error

    def code(self) -> grpc.StatusCode:
        code = self._error.code
        return grpc.StatusCode.UNAVAILABLE if code is grpc.StatusCode.UNKNOWN else code

    def details(self) -> str:
        return f"There is no token for this call: {self._error.message}"

    def initial_metadata(self) -> Any:
        return ()

    def trailing_metadata(self) -> Any:
        return ()

    def is_active(self) -> bool:
        return False

    def time_remaining(self) -> Any:
        return None

    def cancel(self) -> bool:
        return False

    def cancelled(self) -> bool:
        return False

    def running(self) -> bool:
        return False

    def done(self) -> bool:
        return True

    def add_callback(self, callback: Any) -> bool:
        return False

    def add_done_callback(self, fn: Any) -> None:
        fn(self)

    def result(self, timeout: float | None = None) -> Any:
        raise self

    def exception(self, timeout: float | None = None) -> Any:
        return self

    def traceback(self, timeout: float | None = None) -> Any:
        return self.__traceback__

    def __iter__(self) -> Any:
        return self

    def __next__(self) -> Any:
        raise self


class TokenInterceptor(
    grpc.UnaryUnaryClientInterceptor,
    grpc.UnaryStreamClientInterceptor,
    grpc.StreamUnaryClientInterceptor,
    grpc.StreamStreamClientInterceptor,
):
    """Sends the token of a source. A unary call that is refused for its token is made once more, with another one."""

    def __init__(self, source: Source) -> None:
        self._source = source

    def intercept_unary_unary(self, continuation: Callable[..., Any], client_call_details: Any, request: Any) -> Any:
        timeout = client_call_details.timeout
        end = None if timeout is None else time.monotonic() + timeout
        try:
            token = self._source.get(10.0 if timeout is None else timeout)
        except JetonError as error:
            return _Failed(error)
        call = continuation(_with(client_call_details, token, _left(end)), request)
        if not another_token_may_help(call.code(), call.trailing_metadata()):
            return call
        other = self._source.instead_of(token, 10.0 if end is None else _left(end) or 0.0)
        if other is None or (end is not None and time.monotonic() >= end):
            return call
        return continuation(_with(client_call_details, other, _left(end)), request)

    def _once(self, continuation: Callable[..., Any], details: Any, requests: Any) -> Any:
        timeout = details.timeout
        end = None if timeout is None else time.monotonic() + timeout
        try:
            token = self._source.get(10.0 if timeout is None else timeout)
        except JetonError as error:
            return _Failed(error)
        return continuation(_with(details, token, _left(end)), requests)

    def intercept_unary_stream(self, continuation: Callable[..., Any], client_call_details: Any, request: Any) -> Any:
        return self._once(continuation, client_call_details, request)

    def intercept_stream_unary(
        self, continuation: Callable[..., Any], client_call_details: Any, request_iterator: Any
    ) -> Any:
        return self._once(continuation, client_call_details, request_iterator)

    def intercept_stream_stream(
        self, continuation: Callable[..., Any], client_call_details: Any, request_iterator: Any
    ) -> Any:
        return self._once(continuation, client_call_details, request_iterator)


def _left(end: float | None) -> float | None:
    return None if end is None else max(end - time.monotonic(), 0.001)


class CallCredentialsPlugin(grpc.AuthMetadataPlugin):
    """Gives gRPC the token; gRPC calls it in a thread of its own."""

    def __init__(self, source: Source) -> None:
        self._source = source

    def __call__(self, context: grpc.AuthMetadataContext, callback: grpc.AuthMetadataPluginCallback) -> None:
        try:
            value = self._source.authorization()
        except Exception as error:  # noqa: BLE001 # gRPC must hear of it
            callback((), error)
        else:
            callback((("authorization", value),), None)
