"""Everything that can go wrong, one class for each kind. All are a `JetonError`."""

from __future__ import annotations

import datetime
from collections.abc import Callable, Mapping
from typing import Any, Generic, TypeVar, overload

import grpc

T = TypeVar("T")


class JetonError(Exception):
    """A failure of a call, or of what is needed to make one."""

    def __init__(
        self,
        message: str,
        *,
        code: grpc.StatusCode = grpc.StatusCode.UNKNOWN,
        reason: str = "",
        metadata: Mapping[str, str] | None = None,
        retry_after: datetime.timedelta | None = None,
        endpoint: str = "",
        file: str = "",
    ) -> None:
        super().__init__(message)
        self.message = message
        self.code = code
        self.reason = reason
        self.metadata: dict[str, str] = dict(metadata or {})
        self.retry_after = retry_after
        self.endpoint = endpoint
        self.file = file

    def fields(self) -> dict[str, Any]:
        """Returns the typed metadata that are set, by their names."""
        found: dict[str, Any] = {}
        for name, value in vars(type(self)).items():
            if isinstance(value, _Field):
                typed: Any = getattr(self, name)
                if typed is not None:
                    found[name] = typed
        return found

    def again(self) -> JetonError:
        """Returns a copy that can be raised in another thread or task."""
        copy = type(self)(
            self.message,
            code=self.code,
            reason=self.reason,
            metadata=self.metadata,
            retry_after=self.retry_after,
            endpoint=self.endpoint,
            file=self.file,
        )
        copy.__cause__ = self.__cause__
        return copy

    def __reduce__(self) -> tuple[Any, ...]:
        return (_restored, (type(self), self.message, dict(vars(self))))


def _restored(kind: type[JetonError], message: str, state: dict[str, Any]) -> JetonError:
    error = kind(message)
    vars(error).update(state)
    return error


class EndpointInvalid(JetonError):
    """A text is no endpoint, or the credential would go over plaintext."""


class CredentialInvalid(JetonError):
    """No API key is in the text or file, or a file of TLS cannot be used. `file` names the file."""


class Unreachable(JetonError):
    """Nothing answered at `endpoint`: nothing listens there, TLS does not match, or the connection broke."""


class DeadlineExceeded(JetonError):
    """The deadline passed before the answer. What was asked may have been done."""


class NotJeton(JetonError):
    """What answers at `endpoint` is not a jeton, or one that is too old for the call."""


class Closed(JetonError):
    """The object is closed."""


class UnexpectedError(JetonError):
    """A status that says nothing more; see `code`."""


class ServerError(JetonError):
    """A refusal of jeton, with its `reason` and `metadata`."""


class UnknownReason(ServerError):
    """A refusal whose reason this library does not know: the server is newer."""


class _Field(Generic[T]):
    """A value of the metadata, typed; `None` if it is absent or has another form."""

    def __init__(self, key: str, parse: Callable[[str], T]) -> None:
        self._key, self._parse = key, parse

    @overload
    def __get__(self, error: None, kind: type[JetonError]) -> _Field[T]: ...
    @overload
    def __get__(self, error: JetonError, kind: type[JetonError]) -> T | None: ...
    def __get__(self, error: JetonError | None, kind: type[JetonError]) -> _Field[T] | T | None:
        if error is None:
            return self
        text = error.metadata.get(self._key)
        try:
            return None if text is None else self._parse(text)
        except (ValueError, OverflowError):
            return None


def _text(key: str) -> _Field[str]:
    return _Field(key, str)


def _number(key: str) -> _Field[int]:
    return _Field(key, int)


def _seconds(key: str) -> _Field[datetime.timedelta]:
    return _Field(key, lambda text: datetime.timedelta(seconds=int(text)))


def _millis(key: str) -> _Field[datetime.timedelta]:
    return _Field(key, lambda text: datetime.timedelta(milliseconds=int(text)))


def _instant(key: str) -> _Field[datetime.datetime]:
    return _Field(key, lambda text: datetime.datetime.fromisoformat(text.replace("Z", "+00:00")))


# One class for each reason of error_reason.proto.


class FieldRequired(ServerError):
    """A required field is empty."""

    field = _text("field")


class FieldInvalid(ServerError):
    """A field has the wrong form."""

    field = _text("field")
    rule = _text("rule")


class TtlExceedsMaximum(ServerError):
    """The TTL asked for is above the maximum."""

    audience = _text("audience")
    requested_ttl = _seconds("requestedTtlSeconds")
    max_ttl = _seconds("maxTtlSeconds")
    likely_unit = _text("likelyUnit")


class TtlTooShort(ServerError):
    """The TTL is zero, negative or below a second."""

    requested_ttl = _millis("requestedTtlMillis")


class ExpireTimePast(ServerError):
    """`expire_time` is not in the future."""

    expire_time = _instant("expireTime")
    server_time = _instant("serverTime")


class ClaimReserved(ServerError):
    """A custom claim has a name that the issuer sets."""

    claim = _text("claim")


class ClaimNumberUnsafe(ServerError):
    """A number in a custom claim cannot be kept exactly."""

    claim = _text("claim")


class TokenTooLarge(ServerError):
    """The token would outgrow 4 KiB."""

    size_bytes = _number("sizeBytes")
    max_size_bytes = _number("maxSizeBytes")
    largest_claim = _text("largestClaim")


class AudienceNotAllowed(ServerError):
    """The caller may not issue or validate for this audience."""

    audience = _text("audience")


class SubjectNotAllowed(ServerError):
    """The caller may not issue for this subject."""

    subject = _text("subject")


class ScopeNotAllowed(ServerError):
    """A scope is outside the policy or the session."""

    scope = _text("scope")
    audience = _text("audience")


class RefreshTokenInvalid(ServerError):
    """Not a refresh token of this issuer, or of this caller; or one that was presented before the latest
    refresh, and looked at after it.
    """


class RefreshTokenExpired(ServerError):
    """The session is past its idle or absolute limit."""

    limit = _text("limit")
    expire_time = _instant("expireTime")


class RefreshTokenReused(ServerError):
    """A spent refresh token was presented; the session is now revoked."""

    session_id = _text("sessionId")


class SessionRevoked(ServerError):
    """The session was revoked."""

    session_id = _text("sessionId")
    revocation_reason = _text("revocationReason")


class CallerUnauthenticated(ServerError):
    """No credential, or a bad one."""


class CallerForbidden(ServerError):
    """The caller lacks a permission."""

    permission = _text("permission")


class WideRevocationForbidden(ServerError):
    """A wide target on the public listener."""

    target_kind = _text("targetKind")


class AffectedSessionsExceeded(ServerError):
    """More sessions would be hit than allowed."""

    affected_sessions = _number("affectedSessions")
    max_affected_sessions = _number("maxAffectedSessions")


class BatchTooLarge(ServerError):
    """The batch is above its limit."""

    size = _number("size")
    max_size = _number("maxSize")


class EtagMismatch(ServerError):
    """The etag is stale."""

    current_etag = _text("currentEtag")


class NotFound(ServerError):
    """The resource does not exist."""

    resource_type = _text("resourceType")
    resource_name = _text("resourceName")


class AlreadyExists(ServerError):
    """The resource exists already."""

    resource_type = _text("resourceType")
    resource_name = _text("resourceName")


class PageTokenInvalid(ServerError):
    """The page token is foreign or from another query."""


class RevisionInvalid(ServerError):
    """The revision is malformed or from another log."""


class RateLimited(ServerError):
    """The caller is over its rate."""

    limit_per_second = _number("limitPerSecond")


class StoreUnavailable(ServerError):
    """The database is out of reach; or it was replaced while a change was waited for, and may have lost
    that.
    """


class RevocationStateStale(ServerError):
    """This replica cannot prove its revocation state fresh, and refuses to guess."""

    age = _millis("ageMillis")


class SigningKeyUnavailable(ServerError):
    """No key may sign now, or the MAC key of this refresh token cannot be used: then the token is not
    spent.
    """

    algorithm = _text("algorithm")
    key_id = _text("keyId")


class ClockSkew(ServerError):
    """Server and database clocks are too far apart to mint or to judge."""

    offset = _millis("offsetMillis")


class ServerDraining(ServerError):
    """The server is draining."""


class Internal(ServerError):
    """A defect on our side."""


class NotServedHere(ServerError):
    """The service, the method, the value or the message's encoding is not served on this listener by this
    version.
    """

    service = _text("service")
    listener = _text("listener")
    encoding = _text("encoding")


class MessageTooLarge(ServerError):
    """The message is longer, in bytes, than its method takes."""

    size = _number("size")
    max_size = _number("maxSize")


class Overloaded(ServerError):
    """This replica has more to do than time, or a queue of it is full, though nobody is over a rate.
    Another replica may have time.
    """


class QuotaExceeded(ServerError):
    """The caller has as many live sessions, or live revocations by bare jti, as it may have; or the
    subject has as many live sessions as its policy allows. Room comes when some of them end.
    """

    quota = _text("quota")


class HighWaterExceeded(ServerError):
    """BulkRevoke would make the fleet hold more revocations than its high-water mark."""

    held_revocations = _number("heldRevocations")
    target_count = _number("targetCount")
    high_water = _number("highWater")


class SubjectLocked(ServerError):
    """The subject is locked: nothing is issued for it."""

    until_time = _instant("untilTime")


class ClientLocked(ServerError):
    """The caller is locked: nothing is issued to it."""

    until_time = _instant("untilTime")


def _name(kind: type[JetonError]) -> str:
    """The reason of a class: `TTL_EXCEEDS_MAXIMUM` of `TtlExceedsMaximum`."""
    return "".join(f"_{letter}" if letter.isupper() else letter.upper() for letter in kind.__name__).lstrip("_")


def _reasons() -> dict[str, type[JetonError]]:
    kinds = [kind for kind in ServerError.__subclasses__() if kind is not UnknownReason]
    return {_name(kind): kind for kind in [*kinds, DeadlineExceeded]}


REASONS = _reasons()
