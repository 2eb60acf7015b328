package dev.jeton;

import dev.jeton.v1.RevocationReason;
import dev.jeton.v1.TokenStatus;
import io.grpc.Context;
import java.time.Instant;
import java.util.List;
import java.util.Map;
import java.util.Optional;

/**
 * What jeton says of a token. Only of an active one the rest is trustworthy.
 *
 * @param status ACTIVE, or the first reason against
 * @param subject {@code sub}
 * @param audiences {@code aud}
 * @param scopes {@code scope}
 * @param jti {@code jti}
 * @param sessionId {@code sid}; empty if the token has no session
 * @param clientId who obtained the token
 * @param issueTime {@code iat}, if the server told it
 * @param expireTime {@code exp}, if the server told it
 * @param serverTime the server's clock at the verdict
 * @param claims all custom claims: texts, doubles, booleans, lists and maps
 * @param revision the revision the verdict was made at
 * @param revocationReason why it was revoked
 * @param surroundings what surrounds a token in the text that was judged, in words; empty if nothing does
 */
public record Verdict(
        TokenStatus status,
        String subject,
        List<String> audiences,
        List<String> scopes,
        String jti,
        String sessionId,
        String clientId,
        Optional<Instant> issueTime,
        Optional<Instant> expireTime,
        Optional<Instant> serverTime,
        Map<String, Object> claims,
        String revision,
        RevocationReason revocationReason,
        String surroundings) {

    /** Where a guard puts the verdict for the handlers of a call of gRPC. */
    public static final Context.Key<Verdict> CONTEXT_KEY = Context.key("dev.jeton.verdict");

    /** The attribute of a servlet request in which a guard puts the verdict. */
    public static final String REQUEST_ATTRIBUTE = "dev.jeton.verdict";

    /**
     * Reads a verdict of the API.
     *
     * @param verdict as the server sent it
     * @return the verdict
     */
    public static Verdict of(dev.jeton.v1.Verdict verdict) {
        return new Verdict(
                verdict.getStatus(),
                verdict.getSubject(),
                verdict.getAudiencesList(),
                verdict.getScopesList(),
                verdict.getJti(),
                verdict.getSessionId(),
                verdict.getClientId(),
                verdict.hasIssueTime() ? Optional.of(IssuedToken.instant(verdict.getIssueTime())) : Optional.empty(),
                verdict.hasExpireTime() ? Optional.of(IssuedToken.instant(verdict.getExpireTime())) : Optional.empty(),
                verdict.hasServerTime() ? Optional.of(IssuedToken.instant(verdict.getServerTime())) : Optional.empty(),
                Values.map(verdict.getClaims()),
                verdict.getRevision(),
                verdict.getRevocationReason(),
                verdict.getSurroundings());
    }

    /**
     * The verdict of the call of gRPC that is being handled.
     *
     * @return the verdict
     * @throws IllegalStateException if no guard has judged the call
     */
    public static Verdict current() {
        Verdict found = CONTEXT_KEY.get();
        if (found == null) {
            throw new IllegalStateException("no guard has judged this call");
        }
        return found;
    }

    /**
     * Whether the token is good.
     *
     * @return whether everything holds
     */
    public boolean isActive() {
        return status == TokenStatus.TOKEN_STATUS_ACTIVE;
    }

    /**
     * Asks for more scopes than the guard does, within a handler.
     *
     * @param needed the scopes that the token must have
     * @throws RefusedException if one is missing; the guard turns it into the answer
     */
    public void require(String... needed) {
        if (!scopes.containsAll(List.of(needed))) {
            throw new RefusedException(Refusal.missingScope(List.of(needed)));
        }
    }
}
