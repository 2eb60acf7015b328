"""What a guard answers, for gRPC and for HTTP: without I/O. clients/README.md holds the table."""

from __future__ import annotations

import base64
import contextvars
import dataclasses
import datetime
import hashlib
import logging
import ssl
import threading
import time
from collections.abc import Iterable, Mapping
from typing import Any

import grpc
from google.protobuf import any_pb2, duration_pb2
from google.rpc import error_details_pb2, status_pb2

from ._peers import GUARD_DOMAIN
from ._status import is_lasting
from ._types import Verdict
from .errors import JetonError, Unreachable

TOKEN_BYTES_MAX = 8192
DEADLINE_S = 2.0
RECHECK_S = 30.0
WAITING_MAX = 1000
RETRY_S = 1
_PRINTABLE = bytes(range(0x21, 0x7F))
_LOG_EVERY_S = 60.0

log = logging.getLogger("jeton")
verdict_of_call: contextvars.ContextVar[Verdict | None] = contextvars.ContextVar("jeton_verdict", default=None)


def current_verdict() -> Verdict:
    """Returns the verdict of the call that a guard let through, within its handler."""
    found = verdict_of_call.get()
    if found is None:
        raise LookupError("no guard has judged this call")
    return found


class Refused(Exception):  # it is an answer, no error
    """The answer to a call that does not pass."""

    def __init__(self, reason: str, message: str, scopes: Iterable[str] = ()) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message
        self.scopes = tuple(scopes)

    @property
    def code(self) -> grpc.StatusCode:
        """For gRPC."""
        if self.reason == "NO_VERDICT":
            return grpc.StatusCode.UNAVAILABLE
        if self.reason == "MISSING_SCOPE":
            return grpc.StatusCode.PERMISSION_DENIED
        return grpc.StatusCode.UNAUTHENTICATED

    def status(self) -> status_pb2.Status:
        """For gRPC, with details."""
        status = status_pb2.Status(code=self.code.value[0], message=self.message)
        packed: list[Any] = [error_details_pb2.ErrorInfo(domain=GUARD_DOMAIN, reason=self.reason)]
        if self.reason == "NO_VERDICT":
            packed.append(error_details_pb2.RetryInfo(retry_delay=duration_pb2.Duration(seconds=RETRY_S)))
        for message in packed:
            detail = any_pb2.Any()
            detail.Pack(message)
            status.details.append(detail)
        return status

    def trailing(self) -> tuple[tuple[str, bytes], ...]:
        """For gRPC."""
        return (("grpc-status-details-bin", self.status().SerializeToString()),)

    def http(self) -> tuple[int, list[tuple[str, str]], dict[str, str]]:
        """Status, headers and body for HTTP."""
        if self.reason == "NO_VERDICT":
            headers = [("www-authenticate", "Bearer"), ("retry-after", str(RETRY_S))]
            return 503, headers, {"error": "temporarily_unavailable", "reason": self.reason}
        if self.reason == "MISSING_SCOPE":
            scope = " ".join(self.scopes)
            challenge = f'Bearer error="insufficient_scope", scope="{scope}"'
            return 403, [("www-authenticate", challenge)], {"error": "insufficient_scope", "reason": self.reason}
        if self.reason == "NO_TOKEN":
            return 401, [("www-authenticate", "Bearer")], {"error": "invalid_request", "reason": self.reason}
        challenge = f'Bearer error="invalid_token", error_description="{self.message}"'
        return 401, [("www-authenticate", challenge)], {"error": "invalid_token", "reason": self.reason}


def no_verdict() -> Refused:
    """Nothing was decided."""
    return Refused("NO_VERDICT", "The token could not be judged. Try again.")


def bearer(values: Iterable[str]) -> str:
    """Returns the token of the `authorization` of a call. More than one value counts as none."""
    listed = list(values)
    scheme, _, token = listed[0].partition(" ") if len(listed) == 1 else ("", "", "")
    token = token.strip(" ")
    if scheme.lower() != "bearer" or not token:
        raise Refused("NO_TOKEN", "The call carries no token. Send one as authorization: Bearer.")
    return token


def check(token: str) -> None:
    """Raises the answer to a token that is none: it would end a stream, so it is not sent."""
    if len(token) > TOKEN_BYTES_MAX or not token.isascii() or token.encode().translate(None, _PRINTABLE):
        raise Refused("MALFORMED", "The token is MALFORMED. Send one that jeton issued.")


def hold(verdict: Verdict, scopes: Iterable[str]) -> Verdict:
    """Returns the verdict of a token that passes; else raises the answer."""
    if verdict.is_active:
        return verdict
    if verdict.status == "UNSPECIFIED":
        log.error("jeton answered a status of a token that this library does not know")
        raise no_verdict()
    if verdict.status == "MISSING_SCOPE":
        raise Refused("MISSING_SCOPE", "The token lacks a scope that this call needs.", scopes)
    raise Refused(verdict.status, f"The token is {verdict.status}. Get another one.")


def thumbprint(der: bytes) -> str:
    """Returns `x5t#S256` of a certificate (RFC 8705)."""
    return base64.urlsafe_b64encode(hashlib.sha256(der).digest()).rstrip(b"=").decode()


def peer_thumbprint(auth_context: Mapping[str, Any]) -> str:
    """Returns the thumbprint of the certificate that a peer of gRPC presented; empty if none."""
    for pem in auth_context.get("x509_pem_cert", ()):
        return thumbprint(ssl.PEM_cert_to_DER_cert(pem.decode("ascii")))
    return ""


@dataclasses.dataclass(frozen=True)
class Rules:
    """What a guard was told."""

    audiences: tuple[str, ...]
    scopes: tuple[str, ...]
    deadline: float
    recheck: float
    max_waiting: int
    mode: str
    except_for: frozenset[str]

    @classmethod
    def of(
        cls,
        audiences: Iterable[str],
        scopes: Iterable[str],
        mode: str,
        deadline: float,
        recheck: float,
        max_waiting: int,
        except_for: Iterable[str],
    ) -> Rules:
        """Checks the arguments of a guard."""
        if isinstance(audiences, str) or isinstance(scopes, str):
            raise TypeError("audiences and scopes are lists of texts")
        if mode not in ("unary", "stream", "batch"):
            raise ValueError("mode is unary, stream or batch")
        return cls(tuple(audiences), tuple(scopes), deadline, recheck, max_waiting, mode, frozenset(except_for))


class Complaints:
    """Tells the log of the server what is wrong with the guard's own calls, once a minute for each reason."""

    def __init__(self) -> None:
        self._told: dict[str, float] = {}
        self._lock = threading.Lock()

    def note(self, error: JetonError) -> None:
        """Logs it, or not."""
        reason, now = error.reason or type(error).__name__, time.monotonic()
        with self._lock:
            if now - self._told.get(reason, float("-inf")) < _LOG_EVERY_S:
                return
            self._told[reason] = now
        level = logging.ERROR if is_lasting(error) and not isinstance(error, Unreachable) else logging.WARNING
        log.log(level, "calls are refused, because jeton gives the guard no verdict: %s", error.message)


class Watch:
    """When a long stream is judged again."""

    def __init__(self, rules: Rules, verdict: Verdict, now: float) -> None:
        self._rules = rules
        self._misses_until: float | None = None
        self.planned(verdict, now)

    def planned(self, verdict: Verdict, now: float) -> None:
        """A verdict came: plans the next one."""
        self._misses_until = None
        self.at = now + self._rules.recheck if self._rules.recheck > 0 else float("inf")
        if verdict.expire_time is not None and verdict.server_time is not None:
            left = (verdict.expire_time - verdict.server_time) / datetime.timedelta(seconds=1)
            self.at = min(self.at, now + max(left, 0.0))

    def missed(self, now: float) -> bool:
        """No verdict came: whether the stream ends now."""
        if self._misses_until is None:
            self._misses_until = now + self._rules.recheck
        if now >= self._misses_until:
            return True
        self.at = now + min(1.0, self._rules.recheck)
        return False
