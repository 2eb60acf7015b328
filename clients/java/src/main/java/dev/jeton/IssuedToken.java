package dev.jeton;

import com.google.protobuf.Timestamp;
import java.time.Instant;
import java.util.Optional;

/**
 * A token that jeton issued. Its text, and that of its refresh token, do not print.
 *
 * @param accessToken the token
 * @param jti its {@code jti}
 * @param sessionId the session; empty if it has none
 * @param issueTime when it was issued, by the server's clock
 * @param expireTime when it expires, by the server's clock
 * @param refreshTime when it is to be renewed, by the server's clock, if the server said so
 * @param refreshToken renews the session, if there is one
 */
public record IssuedToken(
        Secret accessToken,
        String jti,
        String sessionId,
        Instant issueTime,
        Instant expireTime,
        Optional<Instant> refreshTime,
        Optional<Secret> refreshToken) {

    static IssuedToken of(dev.jeton.v1.IssuedToken token) {
        String refresh = token.getRefresh().getRefreshToken();
        return new IssuedToken(
                Secret.of(token.getAccessToken()),
                token.getJti(),
                token.getSessionId(),
                instant(token.getIssueTime()),
                instant(token.getExpireTime()),
                token.hasRefreshTime() ? Optional.of(instant(token.getRefreshTime())) : Optional.empty(),
                refresh.isEmpty() ? Optional.empty() : Optional.of(Secret.of(refresh)));
    }

    static Instant instant(Timestamp time) {
        return Instant.ofEpochSecond(time.getSeconds(), time.getNanos());
    }
}
