"""A double of jeton for tests: it issues, refreshes, judges and revokes in memory, without a server and a network.

    jeton = JetonDouble()
    source = TokenSource(jeton.client(), "svc:billing", ["orders"])
    jeton.advance(900)

Its tokens are no JWTs: no verifier accepts them but its own. Its clock stands still until `advance`.
"""

from __future__ import annotations

import dataclasses
import datetime
import secrets
import threading
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from typing import Any

import grpc

from . import aio
from ._methods import Method
from ._secret import Secret, secret
from .client import Client
from .errors import REASONS, Closed, JetonError, Unreachable
from .v1 import token_pb2
from .v1 import token_service_pb2 as pb

_BEGIN = datetime.datetime(2030, 1, 1, tzinfo=datetime.timezone.utc)
DEFAULT_TTL_S, MAX_TTL_S, SESSION_S = 900, 86_400, 7 * 86_400


@dataclasses.dataclass
class _Record:
    subject: str
    audiences: tuple[str, ...]
    scopes: tuple[str, ...]
    claims: dict[str, Any]
    jti: str
    session: str
    expires: float
    thumbprint: str


@dataclasses.dataclass
class _Session:
    name: str
    request: pb.IssueRequest
    revoked: bool = False


class JetonDouble:
    """Stands in for a server. Threads may share it."""

    def __init__(self) -> None:
        self.away = False  # every call fails with Unreachable
        self.calls: list[str] = []  # names of the methods that were called
        self._lock = threading.RLock()
        self._now = 0.0
        self._listeners: list[Callable[[], Any]] = []
        self._tokens: dict[str, _Record] = {}
        self._sessions: dict[str, _Session] = {}
        self._revoked: set[str] = set()
        self._answers: list[JetonError] = []

    def client(self) -> Client:
        """Returns a client of this double, which blocks."""
        return Client.over(_Transport(self))

    def aio_client(self) -> aio.Client:
        """Returns a client of this double for asyncio."""
        return aio.Client.over(_AioTransport(self))

    def advance(self, seconds: float) -> None:
        """Sets the clock forward."""
        with self._lock:
            self._now += seconds
            listeners = list(self._listeners)
        for listener in listeners:
            listener()

    def revoke(self, *, token: str | Secret = "", session_id: str = "") -> None:
        """Revokes a token, or a session with all its tokens."""
        with self._lock:
            if session_id:
                self._revoked.add(session_id)
            record = self._tokens.get(secret(token).reveal())
            if record is not None:
                self._revoked.add(record.jti)

    def answer(self, reason: str, code: grpc.StatusCode = grpc.StatusCode.UNAVAILABLE, **metadata: str) -> None:
        """Lets the next call fail for this reason, such as `TTL_EXCEEDS_MAXIMUM`, with metadata as jeton names them."""
        error = REASONS[reason](f"The double was told to answer {reason}.", code=code, reason=reason, metadata=metadata)
        with self._lock:
            self._answers.append(error)

    def now(self) -> float:
        """Returns the time of its clock."""
        return self._now

    def on_clock(self, listener: Callable[[], Any]) -> None:
        """Calls back after each `advance`."""
        with self._lock:
            self._listeners.append(listener)

    def handle(self, method: str, request: Any) -> Any:
        """Answers a call."""
        with self._lock:
            self.calls.append(method)
            if self.away:
                told = "The double is away, as the test said."
                raise Unreachable(told, code=grpc.StatusCode.UNAVAILABLE, endpoint="the double")
            if self._answers:
                raise self._answers.pop(0)
            known = {
                "Issue": self._issue,
                "Refresh": self._refresh,
                "Validate": lambda it: pb.ValidateResponse(verdict=self._judge(it)),
                "BatchValidate": lambda it: pb.BatchValidateResponse(
                    verdicts=[self._judge(one) for one in it.requests]
                ),
                "StreamValidate": lambda it: pb.StreamValidateResponse(verdict=self._judge(it.request)),
                "Revoke": self._revoke,
                "GetCaller": lambda _: pb.GetCallerResponse(),
            }
            if method not in known:
                raise _refusal("NOT_SERVED_HERE", grpc.StatusCode.UNIMPLEMENTED, service=method, listener="the double")
            return known[method](request)

    def _issue(self, request: pb.IssueRequest) -> pb.IssueResponse:
        if not request.subject or not request.audiences:
            field = "audiences" if request.subject else "subject"
            raise _refusal("FIELD_REQUIRED", grpc.StatusCode.INVALID_ARGUMENT, field=field)
        session = None
        if request.refreshable:
            session = _Session(f"session-{secrets.token_hex(8)}", request)
        return pb.IssueResponse(token=self._mint(request, request.ttl.seconds, session))

    def _mint(self, request: pb.IssueRequest, ttl: int, session: _Session | None) -> token_pb2.IssuedToken:
        ttl = ttl or DEFAULT_TTL_S
        if ttl > MAX_TTL_S:
            facts = {
                "audience": request.audiences[0],
                "requestedTtlSeconds": str(ttl),
                "maxTtlSeconds": str(MAX_TTL_S),
            }
            raise _refusal("TTL_EXCEEDS_MAXIMUM", grpc.StatusCode.INVALID_ARGUMENT, **facts)
        text, jti = f"double.{secrets.token_urlsafe(24)}", f"jti-{secrets.token_hex(8)}"
        self._tokens[text] = _Record(
            request.subject,
            tuple(request.audiences),
            tuple(request.scopes),
            dict(request.claims),
            jti,
            session.name if session else "",
            self._now + ttl,
            request.certificate_thumbprint,
        )
        token = token_pb2.IssuedToken(access_token=text, jti=jti, session_id=session.name if session else "")
        token.expiration_basis = token_pb2.EXPIRATION_BASIS_REQUESTED
        token.issue_time.FromDatetime(self._at(self._now))
        token.expire_time.FromDatetime(self._at(self._now + ttl))
        token.refresh_time.FromDatetime(self._at(self._now + ttl * 0.8))
        if session is not None:
            refresh_token = f"double-refresh.{secrets.token_urlsafe(24)}"
            self._sessions[refresh_token] = session
            token.refresh.refresh_token = refresh_token
            token.refresh.expire_time.FromDatetime(self._at(self._now + SESSION_S))
            token.refresh.session_expire_time.FromDatetime(self._at(self._now + 4 * SESSION_S))
        return token

    def _at(self, now: float) -> datetime.datetime:
        return _BEGIN + datetime.timedelta(seconds=int(now))

    def _refresh(self, request: pb.RefreshRequest) -> pb.RefreshResponse:
        session = self._sessions.pop(request.refresh_token, None)
        if session is None:
            raise _refusal("REFRESH_TOKEN_INVALID", grpc.StatusCode.UNAUTHENTICATED)
        if session.name in self._revoked:
            facts = {"sessionId": session.name, "revocationReason": "REVOCATION_REASON_ADMINISTRATIVE"}
            raise _refusal("SESSION_REVOKED", grpc.StatusCode.UNAUTHENTICATED, **facts)
        return pb.RefreshResponse(token=self._mint(session.request, request.ttl.seconds, session))

    def _judge(self, request: pb.ValidateRequest) -> token_pb2.Verdict:
        verdict = token_pb2.Verdict(status=token_pb2.TOKEN_STATUS_MALFORMED)
        verdict.server_time.FromDatetime(self._at(self._now))
        record = self._tokens.get(request.token)
        if record is None:
            return verdict
        verdict.status = self._status(record, request)
        verdict.subject, verdict.jti, verdict.session_id = record.subject, record.jti, record.session
        verdict.audiences.extend(record.audiences)
        verdict.scopes.extend(record.scopes)
        verdict.client_id = "double"
        verdict.claims.update(record.claims)
        verdict.expire_time.FromDatetime(self._at(record.expires))
        return verdict

    def _status(self, record: _Record, request: pb.ValidateRequest) -> Any:
        if self._now >= record.expires:
            return token_pb2.TOKEN_STATUS_EXPIRED
        if record.jti in self._revoked or record.session in self._revoked:
            return token_pb2.TOKEN_STATUS_REVOKED
        if request.audiences and not set(request.audiences) & set(record.audiences):
            return token_pb2.TOKEN_STATUS_WRONG_AUDIENCE
        if not set(request.scopes) <= set(record.scopes):
            return token_pb2.TOKEN_STATUS_MISSING_SCOPE
        if record.thumbprint and record.thumbprint != request.certificate_thumbprint:
            return token_pb2.TOKEN_STATUS_WRONG_BINDING
        return token_pb2.TOKEN_STATUS_ACTIVE

    def _revoke(self, request: pb.RevokeRequest) -> pb.RevokeResponse:
        self.revoke(token=request.target.token, session_id=request.target.session_id)
        if request.target.jti:
            self._revoked.add(request.target.jti)
        response = pb.RevokeResponse(target=request.target)
        response.propagation.complete = True
        return response


def _refusal(reason: str, code: grpc.StatusCode, **metadata: str) -> JetonError:
    return REASONS[reason](f"The double refuses: {reason}.", code=code, reason=reason, metadata=metadata)


class _Transport:
    def __init__(self, double: JetonDouble) -> None:
        self._double, self._closed = double, False
        self.clock = double.now
        self.on_clock = double.on_clock

    def unary(self, method: Method, request: Any, timeout: float, policy: Any, cancellation: Any, admin: bool) -> Any:
        if self._closed:
            raise Closed("The client is closed.", code=grpc.StatusCode.CANCELLED)
        return self._double.handle(method.name, request)

    def stream(self, method: Method, requests: Iterable[Any], skip: int = 0) -> tuple[Iterator[Any], Callable[[], Any]]:
        return (self._double.handle(method.name, request) for request in requests), lambda: None

    def close(self) -> None:
        self._closed = True

    def __repr__(self) -> str:
        return "the double"


class _AioTransport:
    def __init__(self, double: JetonDouble) -> None:
        self._double, self._closed = double, False
        self.clock = double.now
        self.on_clock = double.on_clock

    async def unary(self, method: Method, request: Any, timeout: float, policy: Any, admin: bool) -> Any:
        if self._closed:
            raise Closed("The client is closed.", code=grpc.StatusCode.CANCELLED)
        return self._double.handle(method.name, request)

    def stream(
        self, method: Method, requests: AsyncIterator[Any], skip: int = 0
    ) -> tuple[AsyncIterator[Any], Callable[[], Any]]:
        async def answers() -> AsyncIterator[Any]:
            async for request in requests:
                yield self._double.handle(method.name, request)

        return answers(), lambda: None

    async def close(self) -> None:
        self._closed = True

    def __repr__(self) -> str:
        return "the double"
