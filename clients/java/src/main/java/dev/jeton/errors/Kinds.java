package dev.jeton.errors;

import java.util.Map;
import java.util.function.Function;

/** Which class a failure has. */
final class Kinds {
    /** By the names of error_reason.proto. */
    static final Map<String, Function<ErrorDetails, JetonException>> OF_REASONS = Map.ofEntries(
            Map.entry("FIELD_REQUIRED", FieldRequiredException::new),
            Map.entry("FIELD_INVALID", FieldInvalidException::new),
            Map.entry("TTL_EXCEEDS_MAXIMUM", TtlExceedsMaximumException::new),
            Map.entry("TTL_TOO_SHORT", TtlTooShortException::new),
            Map.entry("EXPIRE_TIME_PAST", ExpireTimePastException::new),
            Map.entry("CLAIM_RESERVED", ClaimReservedException::new),
            Map.entry("CLAIM_NUMBER_UNSAFE", ClaimNumberUnsafeException::new),
            Map.entry("TOKEN_TOO_LARGE", TokenTooLargeException::new),
            Map.entry("AUDIENCE_NOT_ALLOWED", AudienceNotAllowedException::new),
            Map.entry("SUBJECT_NOT_ALLOWED", SubjectNotAllowedException::new),
            Map.entry("SCOPE_NOT_ALLOWED", ScopeNotAllowedException::new),
            Map.entry("REFRESH_TOKEN_INVALID", RefreshTokenInvalidException::new),
            Map.entry("REFRESH_TOKEN_EXPIRED", RefreshTokenExpiredException::new),
            Map.entry("REFRESH_TOKEN_REUSED", RefreshTokenReusedException::new),
            Map.entry("SESSION_REVOKED", SessionRevokedException::new),
            Map.entry("CALLER_UNAUTHENTICATED", CallerUnauthenticatedException::new),
            Map.entry("CALLER_FORBIDDEN", CallerForbiddenException::new),
            Map.entry("WIDE_REVOCATION_FORBIDDEN", WideRevocationForbiddenException::new),
            Map.entry("AFFECTED_SESSIONS_EXCEEDED", AffectedSessionsExceededException::new),
            Map.entry("BATCH_TOO_LARGE", BatchTooLargeException::new),
            Map.entry("ETAG_MISMATCH", EtagMismatchException::new),
            Map.entry("NOT_FOUND", NotFoundException::new),
            Map.entry("ALREADY_EXISTS", AlreadyExistsException::new),
            Map.entry("PAGE_TOKEN_INVALID", PageTokenInvalidException::new),
            Map.entry("REVISION_INVALID", RevisionInvalidException::new),
            Map.entry("RATE_LIMITED", RateLimitedException::new),
            Map.entry("STORE_UNAVAILABLE", StoreUnavailableException::new),
            Map.entry("REVOCATION_STATE_STALE", RevocationStateStaleException::new),
            Map.entry("SIGNING_KEY_UNAVAILABLE", SigningKeyUnavailableException::new),
            Map.entry("CLOCK_SKEW", ClockSkewException::new),
            Map.entry("SERVER_DRAINING", ServerDrainingException::new),
            Map.entry("INTERNAL", InternalException::new),
            Map.entry("NOT_SERVED_HERE", NotServedHereException::new),
            Map.entry("DEADLINE_EXCEEDED", DeadlineExceededException::new),
            Map.entry("MESSAGE_TOO_LARGE", MessageTooLargeException::new),
            Map.entry("OVERLOADED", OverloadedException::new),
            Map.entry("QUOTA_EXCEEDED", QuotaExceededException::new),
            Map.entry("HIGH_WATER_EXCEEDED", HighWaterExceededException::new),
            Map.entry("SUBJECT_LOCKED", SubjectLockedException::new),
            Map.entry("CLIENT_LOCKED", ClientLockedException::new));

    private static final Map<String, Function<ErrorDetails, JetonException>> OTHERS = Map.ofEntries(
            Map.entry("EndpointInvalid", EndpointInvalidException::new),
            Map.entry("CredentialInvalid", CredentialInvalidException::new),
            Map.entry("Unreachable", UnreachableException::new),
            Map.entry("DeadlineExceeded", DeadlineExceededException::new),
            Map.entry("NotJeton", NotJetonException::new),
            Map.entry("Closed", ClosedException::new),
            Map.entry("UnexpectedError", UnexpectedErrorException::new),
            Map.entry("UnknownReason", UnknownReasonException::new));

    private Kinds() {}

    /** Makes one more of the kind of {@code error}: an exception that is thrown twice would have one stack trace. */
    static JetonException again(JetonException error) {
        Function<ErrorDetails, JetonException> made = OTHERS.get(error.kind());
        if (made == null) {
            made = OF_REASONS.get(error.reason());
        }
        JetonException copy = made == null ? new UnexpectedErrorException(error.details()) : made.apply(error.details());
        copy.initCause(error);
        return copy;
    }
}
