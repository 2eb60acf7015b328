"""The client: calls of TokenService and AdminService, over several endpoints, with typed errors."""

from __future__ import annotations

import dataclasses
import datetime
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import grpc

from . import _requests
from ._calls import Pause, attempts
from ._config import Policy
from ._connect import OPTIONS, Configuration, Group, error_of
from ._endpoint import Endpoint
from ._files import Files
from ._methods import METHODS, Method
from ._secret import Secret
from ._services import Services
from ._types import IssuedToken, Verdict, issued
from .errors import Closed
from .v1 import admin_service_pb2 as admin_pb
from .v1 import token_service_pb2 as pb


class Cancellation:
    """Ends calls and pauses of one owner."""

    def __init__(self) -> None:
        self._event = threading.Event()
        self._lock = threading.Lock()
        self._callbacks: set[Callable[[], Any]] = set()

    @property
    def is_set(self) -> bool:
        """Whether `cancel` was called."""
        return self._event.is_set()

    def cancel(self) -> None:
        """Ends what runs, and what begins later."""
        self._event.set()
        with self._lock:
            callbacks = list(self._callbacks)
        for callback in callbacks:
            callback()

    def run(self, callback: Callable[[], Any], wait: Callable[[], Any]) -> Any:
        """Runs `wait`; a cancellation meanwhile calls `callback`."""
        with self._lock:
            self._callbacks.add(callback)
        try:
            if self._event.is_set():
                callback()
            return wait()
        finally:
            with self._lock:
                self._callbacks.discard(callback)

    def pause(self, seconds: float) -> None:
        """Waits, or less."""
        self._event.wait(seconds)


class _Lane:
    """A channel to one endpoint. When its credentials have changed, it is closed after its last call."""

    def __init__(self, endpoint: Endpoint, credentials: grpc.ChannelCredentials, version: int) -> None:
        self.version = version
        self.calls = 0
        self.is_old = False
        self.tls = endpoint.tls
        if endpoint.tls:
            self.channel = grpc.secure_channel(endpoint.target, credentials, options=OPTIONS)
        else:
            self.channel = grpc.insecure_channel(endpoint.target, options=OPTIONS)
        self.methods: dict[str, Any] = {}

    def unary(self, method: Method) -> Any:
        found = self.methods.get(method.name)
        if found is None:
            found = self.methods[method.name] = self.channel.unary_unary(
                method.path,
                request_serializer=method.request.SerializeToString,
                response_deserializer=method.response.FromString,
            )
        return found

    def stream(self, method: Method) -> Any:
        return self.channel.stream_stream(
            method.path,
            request_serializer=method.request.SerializeToString,
            response_deserializer=method.response.FromString,
        )


class GrpcTransport:
    """Calls over gRPC. The test double has another transport."""

    clock: Callable[[], float] | None = None

    def on_clock(self, callback: Callable[[], Any]) -> None:
        """Nobody sets the clock."""

    def __init__(self, configuration: Configuration) -> None:
        self._configuration = configuration
        self._lanes: dict[Endpoint, _Lane] = {}
        self._lock = threading.Lock()
        self._closed = False

    def _take(self, group: Group, number: int) -> _Lane:
        endpoint, watched = group.endpoints[number], self._configuration.watched
        with self._lock:
            if self._closed:
                raise Closed("The client is closed.", code=grpc.StatusCode.CANCELLED)
            lane = self._lanes.get(endpoint)
            if lane is None or (endpoint.tls and lane.version != watched.version):
                if lane is not None:
                    lane.is_old = True
                    self._close_if_idle(lane)
                lane = self._lanes[endpoint] = _Lane(endpoint, watched.current.channel, watched.version)
            lane.calls += 1
            if not endpoint.tls:
                group.plain[number] = lane
            return lane

    def _give_back(self, lane: _Lane) -> None:
        with self._lock:
            lane.calls -= 1
            self._close_if_idle(lane)

    @staticmethod
    def _close_if_idle(lane: _Lane) -> None:
        if lane.is_old and lane.calls == 0:
            lane.channel.close()

    def unary(
        self,
        method: Method,
        request: Any,
        timeout: float,
        policy: Policy,
        cancellation: Cancellation | None,
        admin: bool,
    ) -> Any:
        group = self._configuration.group(method, admin)
        order, deadline = group.order, time.monotonic() + timeout
        # Nearly all calls succeed at once: the plan of what comes after a failure is made after one.
        number, left = order.current, timeout / order.count
        plan: Any = None
        while True:
            try:
                response = self._once(method, request, group, number, left, cancellation)
            except grpc.RpcError as error:
                outcome = error_of(error, group.endpoints[number])
                outcome.__cause__ = error.with_traceback(None)  # its frames hold the channel
            else:
                if cancellation is not None:
                    _check(cancellation)
                order.current = number
                return response
            _check(cancellation)
            if plan is None:
                plan = attempts(order, policy, deadline, time.monotonic, (number, outcome))
                step = next(plan)
            else:
                step = plan.send(outcome)
            while isinstance(step, Pause):
                cancellation.pause(step.seconds) if cancellation else time.sleep(step.seconds)
                _check(cancellation)
                step = plan.send(None)
            number, left = step.endpoint, step.timeout

    def _once(
        self, method: Method, request: Any, group: Group, number: int, timeout: float, cancellation: Cancellation | None
    ) -> Any:
        watched = self._configuration.watched
        watched.refresh()
        # A channel for plaintext never grows old: its calls are not counted, and need no lock.
        lane = group.plain[number] or self._take(group, number)
        try:
            if cancellation is None:
                return lane.unary(method)(request, timeout=timeout, metadata=watched.current.metadata)
            call = lane.unary(method).future(request, timeout=timeout, metadata=watched.current.metadata)
            try:
                return cancellation.run(call.cancel, call.result)
            except grpc.FutureCancelledError:
                raise _closed_meanwhile() from None
        except ValueError as error:  # gRPC's word for a closed channel
            raise Closed("The client is closed.", code=grpc.StatusCode.CANCELLED) from error
        finally:
            if lane.tls:
                self._give_back(lane)

    def stream(self, method: Method, requests: Iterator[Any], skip: int = 0) -> tuple[Iterator[Any], Callable[[], Any]]:
        """Opens a stream at the current endpoint, or `skip` behind it. Returns its answers, and what ends it."""
        group: Group = self._configuration.group(method, False)
        turn = group.order.round()
        number = turn[skip % len(turn)]
        endpoint = group.endpoints[number]
        self._configuration.watched.refresh()
        lane = self._take(group, number)
        call = lane.stream(method)(requests, metadata=self._configuration.watched.current.metadata)

        def answers() -> Iterator[Any]:
            try:
                yield from call
            except grpc.RpcError as error:
                raise error_of(error, endpoint) from error
            finally:
                self._give_back(lane)

        return answers(), call.cancel

    def close(self) -> None:
        with self._lock:
            self._closed = True
            lanes = list(self._lanes.values())
            self._configuration.forget()
        for lane in lanes:
            lane.channel.close()

    def __repr__(self) -> str:
        return repr(self._configuration)


def _check(cancellation: Cancellation | None) -> None:
    if cancellation is not None and cancellation.is_set:
        raise _closed_meanwhile()


def _closed_meanwhile() -> Closed:
    return Closed("It was closed during the call.", code=grpc.StatusCode.CANCELLED)


class Client(Services):
    """A client of jeton. Made without any call; safe to share between threads.

    `endpoints` are `https://host:port`, tried in order. AdminService is at `admin_endpoints`.
    """

    def __init__(
        self,
        endpoints: str | Iterable[str],
        *,
        api_key: str | Secret | None = None,
        api_key_file: str | None = None,
        ca_file: str | None = None,
        cert_file: str | None = None,
        key_file: str | None = None,
        admin_endpoints: str | Iterable[str] | None = None,
        allow_plaintext: bool = False,
    ) -> None:
        files = Files(None, api_key_file, ca_file, cert_file, key_file)
        self._transport: Any = GrpcTransport(Configuration(endpoints, admin_endpoints, api_key, files, allow_plaintext))

    @classmethod
    def over(cls, transport: Any) -> Client:
        """Returns a client over another transport: that of the test double."""
        client = cls.__new__(cls)
        client._transport = transport  # noqa: SLF001 # it is one of ours
        return client

    def issue(
        self,
        subject: str,
        audiences: Iterable[str],
        *,
        scopes: Iterable[str] = (),
        claims: Mapping[str, Any] | None = None,
        ttl: datetime.timedelta | float | None = None,
        refreshable: bool = False,
        certificate_thumbprint: str = "",
        timeout: float | None = None,
    ) -> IssuedToken:
        """Mints a token. To keep one fresh, use a TokenSource."""
        request = _requests.issue(subject, audiences, scopes, claims, ttl, refreshable, certificate_thumbprint)
        return issued(self._ask("Issue", request, timeout).token)

    def refresh(
        self,
        refresh_token: str | Secret,
        *,
        scopes: Iterable[str] = (),
        ttl: datetime.timedelta | float | None = None,
        timeout: float | None = None,
    ) -> IssuedToken:
        """Spends a refresh token: returns a new token with its successor."""
        return issued(self._ask("Refresh", _requests.refresh(refresh_token, scopes, ttl), timeout).token)

    def validate(
        self,
        token: str | Secret,
        audiences: Iterable[str] = (),
        *,
        scopes: Iterable[str] = (),
        min_revision: str = "",
        certificate_thumbprint: str = "",
        timeout: float | None = None,
    ) -> Verdict:
        """Judges a token. A bad token is a verdict; an error means that nothing was decided."""
        request = _requests.validate(token, audiences, scopes, min_revision, certificate_thumbprint)
        return Verdict(self._ask("Validate", request, timeout).verdict)

    def revoke(
        self,
        *,
        token: str | Secret = "",
        session_id: str = "",
        jti: str = "",
        reason: str = "",
        note: str = "",
        timeout: float | None = None,
    ) -> pb.RevokeResponse:
        """Revokes one token or session. When it returns with `propagation.complete`, it is dead on every replica."""
        return self._ask("Revoke", _requests.revoke(token, session_id, jti, reason, note), timeout)

    def revoke_target(self, request: pb.RevokeRequest, *, timeout: float | None = None) -> pb.RevokeResponse:
        """Revokes any target; a wide one at the admin listener."""
        return self._ask("Revoke", request, timeout, admin=True)

    def bulk_revoke(self, requests: Iterable[admin_pb.BulkRevokeRequest]) -> Iterator[admin_pb.BulkRevokeResponse]:
        """Revokes long lists, chunk by chunk."""
        return self._transport.stream(METHODS["BulkRevoke"], iter(requests))[0]

    def _ask(  # type: ignore[override]
        self,
        name: str,
        request: Any,
        timeout: float | None,
        *,
        cancellation: Cancellation | None = None,
        rounds: int | None = None,
        admin: bool = False,
    ) -> Any:
        method = METHODS[name]
        policy = method.policy if rounds is None else dataclasses.replace(method.policy, rounds=rounds)
        limit = method.policy.timeout if timeout is None else timeout
        return self._transport.unary(method, request, limit, policy, cancellation, admin)

    def close(self) -> None:
        """Closes all connections. Calls that are under way fail."""
        self._transport.close()

    @property
    def clock(self) -> Callable[[], float] | None:
        """The clock of the test double; `None`: that of the machine."""
        return self._transport.clock

    def on_clock(self, callback: Callable[[], Any]) -> None:
        """Calls back when the clock of the test double is set."""
        self._transport.on_clock(callback)

    def real_seconds(self, seconds: float | None) -> float | None:
        """How long to wait for that time of the clock: for ever, if a test sets it."""
        return None if self.clock is not None else seconds

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<jeton.Client of {self._transport!r}>"
