"""From a status of gRPC to an error, and what follows from it."""

from __future__ import annotations

import contextlib
import datetime
from typing import Any

import grpc
from google.protobuf.message import DecodeError
from google.rpc import error_details_pb2, status_pb2

from .errors import (
    REASONS,
    CredentialInvalid,
    DeadlineExceeded,
    EndpointInvalid,
    JetonError,
    NotJeton,
    UnexpectedError,
    UnknownReason,
    Unreachable,
)

DOMAIN = "jeton.v1"

# What no repetition mends.
LASTING = frozenset(
    {
        grpc.StatusCode.INVALID_ARGUMENT,
        grpc.StatusCode.PERMISSION_DENIED,
        grpc.StatusCode.UNAUTHENTICATED,
        grpc.StatusCode.NOT_FOUND,
        grpc.StatusCode.FAILED_PRECONDITION,
        grpc.StatusCode.UNIMPLEMENTED,
    }
)
# Of Refresh: the session is over. After the first two its tokens are dead, too.
SESSION_REVOKED = frozenset({"SESSION_REVOKED", "REFRESH_TOKEN_REUSED"})
SESSION_ENDED = SESSION_REVOKED | {"REFRESH_TOKEN_EXPIRED", "REFRESH_TOKEN_INVALID"}


def is_lasting(error: JetonError) -> bool:
    """Whether a repetition cannot mend it; only somebody's act can."""
    return isinstance(error, (EndpointInvalid, CredentialInvalid)) or error.code in LASTING


def details(trailing: Any) -> tuple[error_details_pb2.ErrorInfo | None, datetime.timedelta | None]:
    """Returns ErrorInfo and the delay of RetryInfo from trailing metadata."""
    info, delay = None, None
    for key, value in trailing or ():
        if key != "grpc-status-details-bin":
            continue
        status = status_pb2.Status()
        with contextlib.suppress(DecodeError):
            status.MergeFromString(value)
        for detail in status.details:
            found, retry = error_details_pb2.ErrorInfo(), error_details_pb2.RetryInfo()
            if detail.Unpack(found):
                info = found
            elif detail.Unpack(retry):
                delay = retry.retry_delay.ToTimedelta()
    return info, delay


def from_status(code: grpc.StatusCode, message: str, trailing: Any, endpoint: str) -> JetonError:
    """Returns the error of a status that came from `endpoint`."""
    info, delay = details(trailing)
    if info is not None and info.domain == DOMAIN:
        kind = REASONS.get(info.reason, UnknownReason)
        return kind(
            message, code=code, reason=info.reason, metadata=info.metadata, retry_after=delay, endpoint=endpoint
        )
    if code is grpc.StatusCode.DEADLINE_EXCEEDED:
        return deadline_exceeded(endpoint)
    if code is grpc.StatusCode.UNAVAILABLE and "http1.x" not in message:
        told = f"Nothing answers at {endpoint}: {_cause(message)}. Check the address, and whether it speaks TLS."
        return Unreachable(told, code=code, retry_after=delay, endpoint=endpoint)
    if code in (grpc.StatusCode.UNIMPLEMENTED, grpc.StatusCode.UNAVAILABLE):
        told = f"What answers at {endpoint} does not serve this call: {_cause(message)}. It is no jeton, or too old."
        return NotJeton(told, code=code, endpoint=endpoint)
    return UnexpectedError(message or code.name, code=code, retry_after=delay, endpoint=endpoint)


def deadline_exceeded(endpoint: str = "") -> DeadlineExceeded:
    """Returns the error of a deadline that passed here."""
    told = f"No answer came from {endpoint or 'jeton'} before the deadline. What was asked may have been done."
    return DeadlineExceeded(told, code=grpc.StatusCode.DEADLINE_EXCEEDED, endpoint=endpoint)


def _cause(message: str) -> str:
    return message.rstrip(". ")[:300] or "no cause is given"
