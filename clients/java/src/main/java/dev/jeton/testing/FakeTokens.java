package dev.jeton.testing;

import com.google.protobuf.Any;
import com.google.protobuf.Struct;
import com.google.protobuf.Timestamp;
import com.google.rpc.ErrorInfo;
import dev.jeton.v1.ErrorReason;
import dev.jeton.v1.IssueRequest;
import dev.jeton.v1.IssuedToken;
import dev.jeton.v1.RefreshCredential;
import dev.jeton.v1.RefreshRequest;
import dev.jeton.v1.RevocationOutcome;
import dev.jeton.v1.RevocationTarget;
import dev.jeton.v1.TokenStatus;
import dev.jeton.v1.ValidateRequest;
import dev.jeton.v1.Verdict;
import io.grpc.Metadata;
import io.grpc.Status;
import io.grpc.StatusRuntimeException;
import io.grpc.protobuf.StatusProto;
import java.util.Collections;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.UUID;
import java.util.concurrent.TimeUnit;

/** The tokens of a double. */
final class FakeTokens {
    private static final long DEFAULT_TTL = 300;
    /** Some instant: nothing compares it with the time of day. */
    private static final long BEGIN = 1_700_000_000L;

    private record Issued(
            String jti, String session, String subject, List<String> audiences, List<String> scopes, Struct claims,
            String thumbprint, long issued, long expires) {}

    private record Session(
            String id, String subject, List<String> audiences, List<String> scopes, Struct claims, long ttl) {}

    private final FakeClock clock;
    private final Map<String, Issued> byText = new HashMap<>();
    private final Map<String, Session> byRefresh = new HashMap<>();
    private final Set<String> spent = new HashSet<>();
    private final Set<String> revoked = new HashSet<>();
    private StatusRuntimeException next;
    private boolean away;
    private int count;

    FakeTokens(FakeClock clock) {
        this.clock = clock;
    }

    private long now() {
        return BEGIN + TimeUnit.NANOSECONDS.toSeconds(clock.nanoTime());
    }

    synchronized void setAway(boolean isAway) {
        away = isAway;
    }

    synchronized void refuseNext(Status.Code code, ErrorReason reason, Map<String, String> metadata) {
        next = refusal(code, reason, metadata);
    }

    synchronized void revoke(String jti) {
        revoked.add(jti);
    }

    synchronized void revokeSession(String sessionId) {
        revoked.add(sessionId);
    }

    synchronized int issued() {
        return count;
    }

    /** Before each call. */
    synchronized void require() {
        if (away) {
            throw Status.UNAVAILABLE.withDescription("the double is away").asRuntimeException();
        }
        StatusRuntimeException told = next;
        next = null;
        if (told != null) {
            throw told;
        }
    }

    private static StatusRuntimeException refusal(Status.Code code, ErrorReason reason, Map<String, String> metadata) {
        String name = reason.name().substring("ERROR_REASON_".length());
        return StatusProto.toStatusRuntimeException(com.google.rpc.Status.newBuilder()
                .setCode(code.value())
                .setMessage("The double answers " + name + ".")
                .addDetails(Any.pack(ErrorInfo.newBuilder()
                        .setDomain("jeton.v1")
                        .setReason(name)
                        .putAllMetadata(metadata)
                        .build()))
                .build(), new Metadata());
    }

    synchronized IssuedToken issue(IssueRequest request) {
        if (request.getSubject().isEmpty() || request.getAudiencesCount() == 0) {
            String field = request.getSubject().isEmpty() ? "subject" : "audiences";
            throw refusal(
                    Status.Code.INVALID_ARGUMENT, ErrorReason.ERROR_REASON_FIELD_REQUIRED, Map.of("field", field));
        }
        long ttl = request.hasTtl() ? request.getTtl().getSeconds() : DEFAULT_TTL;
        Session session = new Session(
                request.getRefreshable() ? UUID.randomUUID().toString() : "",
                request.getSubject(),
                request.getAudiencesList(),
                request.getScopesList(),
                request.getClaims(),
                ttl);
        return make(session, ttl, request.getCertificateThumbprint());
    }

    synchronized IssuedToken refresh(RefreshRequest request) {
        String text = request.getRefreshToken();
        Session session = byRefresh.get(text);
        if (session == null) {
            throw refusal(
                    Status.Code.UNAUTHENTICATED, ErrorReason.ERROR_REASON_REFRESH_TOKEN_INVALID, Map.of());
        }
        Map<String, String> named = Map.of("sessionId", session.id);
        if (revoked.contains(session.id)) {
            throw refusal(Status.Code.UNAUTHENTICATED, ErrorReason.ERROR_REASON_SESSION_REVOKED, named);
        }
        if (!spent.add(text)) {
            revoked.add(session.id);
            throw refusal(Status.Code.UNAUTHENTICATED, ErrorReason.ERROR_REASON_REFRESH_TOKEN_REUSED, named);
        }
        return make(session, request.hasTtl() ? request.getTtl().getSeconds() : session.ttl, "");
    }

    private IssuedToken make(Session session, long ttl, String thumbprint) {
        count++;
        long now = now();
        // No part of it is a JWT, so no verifier takes it.
        String text = "fake." + UUID.randomUUID();
        Issued issued = new Issued(
                UUID.randomUUID().toString(), session.id, session.subject, session.audiences, session.scopes,
                session.claims, thumbprint, now, now + ttl);
        byText.put(text, issued);
        IssuedToken.Builder token = IssuedToken.newBuilder()
                .setAccessToken(text)
                .setJti(issued.jti)
                .setSessionId(session.id)
                .setIssueTime(time(now))
                .setExpireTime(time(now + ttl))
                .setRefreshTime(time(now + ttl * 4 / 5));
        if (!session.id.isEmpty()) {
            String refresh = "fake-refresh." + UUID.randomUUID();
            byRefresh.put(refresh, session);
            token.setRefresh(RefreshCredential.newBuilder().setRefreshToken(refresh));
        }
        return token.build();
    }

    synchronized Verdict judge(ValidateRequest request) {
        Issued issued = byText.get(request.getToken());
        Verdict.Builder verdict = Verdict.newBuilder().setServerTime(time(now()));
        if (issued == null) {
            return verdict.setStatus(TokenStatus.TOKEN_STATUS_MALFORMED).build();
        }
        return verdict.setStatus(status(issued, request))
                .setSubject(issued.subject)
                .addAllAudiences(issued.audiences)
                .addAllScopes(issued.scopes)
                .setJti(issued.jti)
                .setSessionId(issued.session)
                .setClientId("fake")
                .setIssueTime(time(issued.issued))
                .setExpireTime(time(issued.expires))
                .setClaims(issued.claims)
                .build();
    }

    private TokenStatus status(Issued issued, ValidateRequest request) {
        if (now() >= issued.expires) {
            return TokenStatus.TOKEN_STATUS_EXPIRED;
        }
        if (revoked.contains(issued.jti) || (!issued.session.isEmpty() && revoked.contains(issued.session))) {
            return TokenStatus.TOKEN_STATUS_REVOKED;
        }
        if (request.getAudiencesCount() > 0
                && Collections.disjoint(request.getAudiencesList(), issued.audiences)) {
            return TokenStatus.TOKEN_STATUS_WRONG_AUDIENCE;
        }
        if (!issued.scopes.containsAll(request.getScopesList())) {
            return TokenStatus.TOKEN_STATUS_MISSING_SCOPE;
        }
        if (!issued.thumbprint.isEmpty() && !issued.thumbprint.equals(request.getCertificateThumbprint())) {
            return TokenStatus.TOKEN_STATUS_WRONG_BINDING;
        }
        return TokenStatus.TOKEN_STATUS_ACTIVE;
    }

    synchronized RevocationOutcome revoke(RevocationTarget target) {
        String id = switch (target.getKindCase()) {
            case JTI -> target.getJti();
            case SESSION_ID -> target.getSessionId();
            case ID -> target.getId();
            case TOKEN -> idOf(target.getToken());
            default -> throw Status.UNIMPLEMENTED
                    .withDescription("the double revokes tokens and sessions alone")
                    .asRuntimeException();
        };
        if (id.isEmpty()) {
            return RevocationOutcome.REVOCATION_OUTCOME_FOREIGN;
        }
        return revoked.add(id)
                ? RevocationOutcome.REVOCATION_OUTCOME_REVOKED
                : RevocationOutcome.REVOCATION_OUTCOME_ALREADY_REVOKED;
    }

    private String idOf(String text) {
        Issued issued = byText.get(text);
        Session session = byRefresh.get(text);
        return issued != null ? issued.jti : session != null ? session.id : "";
    }

    private static Timestamp time(long seconds) {
        return Timestamp.newBuilder().setSeconds(seconds).build();
    }
}
