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
_STATUSES = {number: name.removeprefix("TOKEN_STATUS_") for name, number in token_pb2.TokenStatus.items()}


class Verdict:
    """What jeton says about a token. Only ACTIVE makes the other fields trustworthy.

    A status that this library does not know is UNSPECIFIED. The other fields are read from the answer when they are
    asked for: a guard needs few of them.
    """

    __slots__ = ("_claims", "_told", "status")

    def __init__(self, told: token_pb2.Verdict) -> None:
        self.status: str = _STATUSES.get(told.status, "UNSPECIFIED")
        self._told = told
        self._claims: Mapping[str, Any] | None = None

    @property
    def is_active(self) -> bool:
        """Whether the token is good."""
        return self.status == "ACTIVE"

    @property
    def subject(self) -> str:
        return self._told.subject

    @property
    def audiences(self) -> tuple[str, ...]:
        return tuple(self._told.audiences)

    @property
    def scopes(self) -> tuple[str, ...]:
        return tuple(self._told.scopes)

    @property
    def jti(self) -> str:
        return self._told.jti

    @property
    def session_id(self) -> str:
        return self._told.session_id

    @property
    def client_id(self) -> str:
        return self._told.client_id

    @property
    def issue_time(self) -> datetime.datetime | None:
        return instant(self._told.issue_time)

    @property
    def expire_time(self) -> datetime.datetime | None:
        return instant(self._told.expire_time)

    @property
    def server_time(self) -> datetime.datetime | None:
        return instant(self._told.server_time)

    @property
    def claims(self) -> Mapping[str, Any]:
        """All custom claims."""
        if self._claims is None:
            self._claims = json_format.MessageToDict(self._told.claims)
        return self._claims

    @property
    def revision(self) -> str:
        return self._told.revision

    @property
    def revocation_reason(self) -> int:
        return self._told.revocation_reason

    @property
    def surroundings(self) -> str:
        return self._told.surroundings

    def __eq__(self, other: object) -> bool:
        return self._told == other._told if isinstance(other, Verdict) else NotImplemented

    __hash__ = None  # type: ignore[assignment] # a verdict holds claims

    def __repr__(self) -> str:
        return f"Verdict(status={self.status!r}, subject={self.subject!r}, jti={self.jti!r})"
