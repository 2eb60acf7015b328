"""What calls give: tokens and verdicts, with texts that do not print."""

from __future__ import annotations

import dataclasses
import datetime
from collections.abc import Mapping
from typing import Any

from google.protobuf import duration_pb2, json_format, timestamp_pb2

from ._secret import Secret
from .v1 import token_pb2


def instant(at: timestamp_pb2.Timestamp) -> datetime.datetime | None:
    """Returns a point in time in UTC; `None` if it is not set."""
    if not at.seconds and not at.nanos:
        return None
    return at.ToDatetime(tzinfo=datetime.timezone.utc)


def duration(length: datetime.timedelta | float) -> duration_pb2.Duration:
    """Returns a duration; a number is in seconds."""
    length = length if isinstance(length, datetime.timedelta) else datetime.timedelta(seconds=length)
    found = duration_pb2.Duration()
    found.FromTimedelta(length)
    return found


@dataclasses.dataclass(frozen=True)
class RefreshCredential:
    """The renewable half of a session."""

    refresh_token: Secret
    expire_time: datetime.datetime | None
    session_expire_time: datetime.datetime | None


@dataclasses.dataclass(frozen=True)
class IssuedToken:
    """A freshly minted token."""

    access_token: Secret
    jti: str
    session_id: str
    issue_time: datetime.datetime
    expire_time: datetime.datetime
    refresh_time: datetime.datetime | None
    expiration_basis: str
    refresh: RefreshCredential | None


def issued(token: token_pb2.IssuedToken) -> IssuedToken:
    """Reads a token from an answer."""
    refresh = None
    if token.HasField("refresh"):
        refresh = RefreshCredential(
            Secret(token.refresh.refresh_token),
            instant(token.refresh.expire_time),
            instant(token.refresh.session_expire_time),
        )
    basis = token_pb2.ExpirationBasis.Name(token.expiration_basis) if token.expiration_basis in _BASES else ""
    return IssuedToken(
        access_token=Secret(token.access_token),
        jti=token.jti,
        session_id=token.session_id,
        issue_time=token.issue_time.ToDatetime(tzinfo=datetime.timezone.utc),
        expire_time=token.expire_time.ToDatetime(tzinfo=datetime.timezone.utc),
        refresh_time=instant(token.refresh_time),
        expiration_basis=basis.removeprefix("EXPIRATION_BASIS_"),
        refresh=refresh,
    )


_BASES = set(token_pb2.ExpirationBasis.values())
_STATUSES = set(token_pb2.TokenStatus.values())


@dataclasses.dataclass(frozen=True)
class Verdict:
    """What jeton says about a token. Only ACTIVE makes the other fields trustworthy."""

    status: str
    subject: str
    audiences: tuple[str, ...]
    scopes: tuple[str, ...]
    jti: str
    session_id: str
    client_id: str
    issue_time: datetime.datetime | None
    expire_time: datetime.datetime | None
    server_time: datetime.datetime | None
    claims: Mapping[str, Any]
    revision: str
    revocation_reason: int
    surroundings: str

    @property
    def is_active(self) -> bool:
        """Whether the token is good."""
        return self.status == "ACTIVE"


def verdict(told: token_pb2.Verdict) -> Verdict:
    """Reads a verdict from an answer. A status that this library does not know is UNSPECIFIED."""
    status = told.status if told.status in _STATUSES else token_pb2.TOKEN_STATUS_UNSPECIFIED
    return Verdict(
        status=token_pb2.TokenStatus.Name(status).removeprefix("TOKEN_STATUS_"),
        subject=told.subject,
        audiences=tuple(told.audiences),
        scopes=tuple(told.scopes),
        jti=told.jti,
        session_id=told.session_id,
        client_id=told.client_id,
        issue_time=instant(told.issue_time),
        expire_time=instant(told.expire_time),
        server_time=instant(told.server_time),
        claims=json_format.MessageToDict(told.claims) if told.claims.fields else {},
        revision=told.revision,
        revocation_reason=told.revocation_reason,
        surroundings=told.surroundings,
    )
