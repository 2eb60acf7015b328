"""Requests of the calls that take plain values."""

from __future__ import annotations

import datetime
from collections.abc import Iterable, Mapping
from typing import Any

from ._secret import Secret, secret
from ._types import duration
from .v1 import revocation_pb2
from .v1 import token_service_pb2 as pb


def issue(
    subject: str,
    audiences: Iterable[str],
    scopes: Iterable[str],
    claims: Mapping[str, Any] | None,
    ttl: datetime.timedelta | float | None,
    refreshable: bool,
    certificate_thumbprint: str,
) -> pb.IssueRequest:
    """Of Issue."""
    request = pb.IssueRequest(
        subject=subject,
        audiences=_listed(audiences),
        scopes=_listed(scopes),
        refreshable=refreshable,
        certificate_thumbprint=certificate_thumbprint,
    )
    if claims is not None:
        request.claims.update(dict(claims))
    if ttl is not None:
        request.ttl.CopyFrom(duration(ttl))
    return request


def refresh(
    refresh_token: str | Secret, scopes: Iterable[str], ttl: datetime.timedelta | float | None
) -> pb.RefreshRequest:
    """Of Refresh."""
    request = pb.RefreshRequest(refresh_token=secret(refresh_token).reveal(), scopes=_listed(scopes))
    if ttl is not None:
        request.ttl.CopyFrom(duration(ttl))
    return request


def validate(
    token: str | Secret,
    audiences: Iterable[str],
    scopes: Iterable[str],
    min_revision: str,
    certificate_thumbprint: str,
) -> pb.ValidateRequest:
    """Of Validate."""
    return pb.ValidateRequest(
        token=secret(token).reveal(),
        audiences=_listed(audiences),
        scopes=_listed(scopes),
        min_revision=min_revision,
        certificate_thumbprint=certificate_thumbprint,
    )


def of_guard(
    token: str, audiences: tuple[str, ...], scopes: tuple[str, ...], certificate_thumbprint: str
) -> pb.ValidateRequest:
    """Of Validate, of what a guard has checked."""
    request = pb.ValidateRequest(token=token, audiences=audiences, certificate_thumbprint=certificate_thumbprint)
    if scopes:
        request.scopes.extend(scopes)
    return request


def revoke(token: str | Secret, session_id: str, jti: str, reason: str, note: str) -> pb.RevokeRequest:
    """Of Revoke, of one token or session."""
    given: dict[str, Any] = {"token": secret(token).reveal(), "session_id": session_id, "jti": jti}
    named = {name: value for name, value in given.items() if value}
    if len(named) != 1:
        raise ValueError("give one of token, session_id and jti")
    request = pb.RevokeRequest(target=revocation_pb2.RevocationTarget(**named), note=note)
    if reason:
        number: Any = revocation_pb2.RevocationReason.Value(f"REVOCATION_REASON_{reason.upper()}")
        request.reason = number
    return request


def _listed(texts: Iterable[str]) -> list[str]:
    if isinstance(texts, str):
        raise TypeError("a list of texts is needed, not one text")
    return list(texts)
