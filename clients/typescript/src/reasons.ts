// One class for each name in proto/jeton/v1/error_reason.proto. A duration is a number of milliseconds. A value that is
// absent, or has another form than its key promises, is undefined.
import { DeadlineExceeded, type ErrorInit, type JetonError, ServerError } from "./errors.js";

function text(error: ServerError, key: string): string | undefined {
  return Object.hasOwn(error.metadata, key) ? error.metadata[key] : undefined;
}

function count(error: ServerError, key: string): number | undefined {
  const value = text(error, key);
  return value !== undefined && /^-?\d{1,15}$/.test(value) ? Number(value) : undefined;
}

function seconds(error: ServerError, key: string): number | undefined {
  const value = count(error, key);
  return value === undefined ? undefined : value * 1000;
}

function millis(error: ServerError, key: string): number | undefined {
  return count(error, key);
}

function instant(error: ServerError, key: string): Date | undefined {
  const value = text(error, key);
  if (value === undefined || !/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)$/.test(value)) return undefined;
  const at = new Date(value);
  return Number.isNaN(at.getTime()) ? undefined : at;
}

/** A required field is empty. */
export class FieldRequired extends ServerError {
  override readonly name = "FieldRequired";
  readonly field = text(this, "field");
}

/** A field has the wrong form. */
export class FieldInvalid extends ServerError {
  override readonly name = "FieldInvalid";
  readonly field = text(this, "field");
  readonly rule = text(this, "rule");
}

/** The TTL asked for is above the maximum. */
export class TtlExceedsMaximum extends ServerError {
  override readonly name = "TtlExceedsMaximum";
  readonly audience = text(this, "audience");
  readonly requestedTtl = seconds(this, "requestedTtlSeconds");
  readonly maxTtl = seconds(this, "maxTtlSeconds");
  readonly likelyUnit = text(this, "likelyUnit");
}

/** The TTL is zero, negative or below a second. */
export class TtlTooShort extends ServerError {
  override readonly name = "TtlTooShort";
  readonly requestedTtl = millis(this, "requestedTtlMillis");
}

/** `expire_time` is not in the future. */
export class ExpireTimePast extends ServerError {
  override readonly name = "ExpireTimePast";
  readonly expireTime = instant(this, "expireTime");
  readonly serverTime = instant(this, "serverTime");
}

/** A custom claim has a name that the issuer sets. */
export class ClaimReserved extends ServerError {
  override readonly name = "ClaimReserved";
  readonly claim = text(this, "claim");
}

/** A number in a custom claim cannot be kept exactly. */
export class ClaimNumberUnsafe extends ServerError {
  override readonly name = "ClaimNumberUnsafe";
  readonly claim = text(this, "claim");
}

/** The token would outgrow 4 KiB. */
export class TokenTooLarge extends ServerError {
  override readonly name = "TokenTooLarge";
  readonly sizeBytes = count(this, "sizeBytes");
  readonly maxSizeBytes = count(this, "maxSizeBytes");
  readonly largestClaim = text(this, "largestClaim");
}

/** The caller may not issue or validate for this audience. */
export class AudienceNotAllowed extends ServerError {
  override readonly name = "AudienceNotAllowed";
  readonly audience = text(this, "audience");
}

/** The caller may not issue for this subject. */
export class SubjectNotAllowed extends ServerError {
  override readonly name = "SubjectNotAllowed";
  readonly subject = text(this, "subject");
}

/** A scope is outside the policy or the session. */
export class ScopeNotAllowed extends ServerError {
  override readonly name = "ScopeNotAllowed";
  readonly scope = text(this, "scope");
  readonly audience = text(this, "audience");
}

/**
 * Not a refresh token of this issuer, or of this caller; or one that was presented before the latest refresh,
 * and looked at after it.
 */
export class RefreshTokenInvalid extends ServerError {
  override readonly name = "RefreshTokenInvalid";
}

/** The session is past its idle or absolute limit. */
export class RefreshTokenExpired extends ServerError {
  override readonly name = "RefreshTokenExpired";
  readonly limit = text(this, "limit");
  readonly expireTime = instant(this, "expireTime");
}

/** A spent refresh token was presented; the session is now revoked. */
export class RefreshTokenReused extends ServerError {
  override readonly name = "RefreshTokenReused";
  readonly sessionId = text(this, "sessionId");
}

/** The session was revoked. */
export class SessionRevoked extends ServerError {
  override readonly name = "SessionRevoked";
  readonly sessionId = text(this, "sessionId");
  readonly revocationReason = text(this, "revocationReason");
}

/** No credential, or a bad one. */
export class CallerUnauthenticated extends ServerError {
  override readonly name = "CallerUnauthenticated";
}

/** The caller lacks a permission. */
export class CallerForbidden extends ServerError {
  override readonly name = "CallerForbidden";
  readonly permission = text(this, "permission");
}

/** A wide target on the public listener. */
export class WideRevocationForbidden extends ServerError {
  override readonly name = "WideRevocationForbidden";
  readonly targetKind = text(this, "targetKind");
}

/** More sessions would be hit than allowed. */
export class AffectedSessionsExceeded extends ServerError {
  override readonly name = "AffectedSessionsExceeded";
  readonly affectedSessions = count(this, "affectedSessions");
  readonly maxAffectedSessions = count(this, "maxAffectedSessions");
}

/** The batch is above its limit. */
export class BatchTooLarge extends ServerError {
  override readonly name = "BatchTooLarge";
  readonly size = count(this, "size");
  readonly maxSize = count(this, "maxSize");
}

/** The etag is stale. */
export class EtagMismatch extends ServerError {
  override readonly name = "EtagMismatch";
  readonly currentEtag = text(this, "currentEtag");
}

/** The resource does not exist. */
export class NotFound extends ServerError {
  override readonly name = "NotFound";
  readonly resourceType = text(this, "resourceType");
  readonly resourceName = text(this, "resourceName");
}

/** The resource exists already. */
export class AlreadyExists extends ServerError {
  override readonly name = "AlreadyExists";
  readonly resourceType = text(this, "resourceType");
  readonly resourceName = text(this, "resourceName");
}

/** The page token is foreign or from another query. */
export class PageTokenInvalid extends ServerError {
  override readonly name = "PageTokenInvalid";
}

/** The revision is malformed or from another log. */
export class RevisionInvalid extends ServerError {
  override readonly name = "RevisionInvalid";
}

/** The caller is over its rate. */
export class RateLimited extends ServerError {
  override readonly name = "RateLimited";
  readonly limitPerSecond = count(this, "limitPerSecond");
}

/** The database is out of reach; or it was replaced while a change was waited for, and may have lost that. */
export class StoreUnavailable extends ServerError {
  override readonly name = "StoreUnavailable";
}

/** This replica cannot prove its revocation state fresh, and refuses to guess. */
export class RevocationStateStale extends ServerError {
  override readonly name = "RevocationStateStale";
  readonly age = millis(this, "ageMillis");
}

/** No key may sign now, or the MAC key of this refresh token cannot be used: then the token is not spent. */
export class SigningKeyUnavailable extends ServerError {
  override readonly name = "SigningKeyUnavailable";
  readonly algorithm = text(this, "algorithm");
  readonly keyId = text(this, "keyId");
}

/** Server and database clocks are too far apart to mint or to judge. */
export class ClockSkew extends ServerError {
  override readonly name = "ClockSkew";
  readonly offset = millis(this, "offsetMillis");
}

/** The server is draining. */
export class ServerDraining extends ServerError {
  override readonly name = "ServerDraining";
}

/** A defect on our side. */
export class Internal extends ServerError {
  override readonly name = "Internal";
}

/** The service, the method, the value or the message's encoding is not served on this listener by this version. */
export class NotServedHere extends ServerError {
  override readonly name = "NotServedHere";
  readonly service = text(this, "service");
  readonly listener = text(this, "listener");
  readonly encoding = text(this, "encoding");
}

/** The message is longer, in bytes, than its method takes. */
export class MessageTooLarge extends ServerError {
  override readonly name = "MessageTooLarge";
  readonly size = count(this, "size");
  readonly maxSize = count(this, "maxSize");
}

/**
 * This replica has more to do than time, or a queue of it is full, though nobody is over a rate. Another replica
 * may have time.
 */
export class Overloaded extends ServerError {
  override readonly name = "Overloaded";
}

/**
 * The caller has as many live sessions, or live revocations by bare jti, as it may have; or the subject has as
 * many live sessions as its policy allows. Room comes when some of them end.
 */
export class QuotaExceeded extends ServerError {
  override readonly name = "QuotaExceeded";
  readonly quota = text(this, "quota");
}

/** BulkRevoke would make the fleet hold more revocations than its high-water mark. */
export class HighWaterExceeded extends ServerError {
  override readonly name = "HighWaterExceeded";
  readonly heldRevocations = count(this, "heldRevocations");
  readonly targetCount = count(this, "targetCount");
  readonly highWater = count(this, "highWater");
}

/** The subject is locked: nothing is issued for it. */
export class SubjectLocked extends ServerError {
  override readonly name = "SubjectLocked";
  readonly untilTime = instant(this, "untilTime");
}

/** The caller is locked: nothing is issued to it. */
export class ClientLocked extends ServerError {
  override readonly name = "ClientLocked";
  readonly untilTime = instant(this, "untilTime");
}

/** The class of each reason. */
export const REASONS: ReadonlyMap<string, new (message: string, init: ErrorInit) => JetonError> = new Map<
  string,
  new (
    message: string,
    init: ErrorInit,
  ) => JetonError
>([
  ["FIELD_REQUIRED", FieldRequired],
  ["FIELD_INVALID", FieldInvalid],
  ["TTL_EXCEEDS_MAXIMUM", TtlExceedsMaximum],
  ["TTL_TOO_SHORT", TtlTooShort],
  ["EXPIRE_TIME_PAST", ExpireTimePast],
  ["CLAIM_RESERVED", ClaimReserved],
  ["CLAIM_NUMBER_UNSAFE", ClaimNumberUnsafe],
  ["TOKEN_TOO_LARGE", TokenTooLarge],
  ["AUDIENCE_NOT_ALLOWED", AudienceNotAllowed],
  ["SUBJECT_NOT_ALLOWED", SubjectNotAllowed],
  ["SCOPE_NOT_ALLOWED", ScopeNotAllowed],
  ["REFRESH_TOKEN_INVALID", RefreshTokenInvalid],
  ["REFRESH_TOKEN_EXPIRED", RefreshTokenExpired],
  ["REFRESH_TOKEN_REUSED", RefreshTokenReused],
  ["SESSION_REVOKED", SessionRevoked],
  ["CALLER_UNAUTHENTICATED", CallerUnauthenticated],
  ["CALLER_FORBIDDEN", CallerForbidden],
  ["WIDE_REVOCATION_FORBIDDEN", WideRevocationForbidden],
  ["AFFECTED_SESSIONS_EXCEEDED", AffectedSessionsExceeded],
  ["BATCH_TOO_LARGE", BatchTooLarge],
  ["ETAG_MISMATCH", EtagMismatch],
  ["NOT_FOUND", NotFound],
  ["ALREADY_EXISTS", AlreadyExists],
  ["PAGE_TOKEN_INVALID", PageTokenInvalid],
  ["REVISION_INVALID", RevisionInvalid],
  ["RATE_LIMITED", RateLimited],
  ["STORE_UNAVAILABLE", StoreUnavailable],
  ["REVOCATION_STATE_STALE", RevocationStateStale],
  ["SIGNING_KEY_UNAVAILABLE", SigningKeyUnavailable],
  ["CLOCK_SKEW", ClockSkew],
  ["SERVER_DRAINING", ServerDraining],
  ["INTERNAL", Internal],
  ["NOT_SERVED_HERE", NotServedHere],
  ["DEADLINE_EXCEEDED", DeadlineExceeded],
  ["MESSAGE_TOO_LARGE", MessageTooLarge],
  ["OVERLOADED", Overloaded],
  ["QUOTA_EXCEEDED", QuotaExceeded],
  ["HIGH_WATER_EXCEEDED", HighWaterExceeded],
  ["SUBJECT_LOCKED", SubjectLocked],
  ["CLIENT_LOCKED", ClientLocked],
]);
