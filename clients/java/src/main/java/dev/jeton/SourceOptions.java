package dev.jeton;

import com.google.protobuf.Duration;
import com.google.protobuf.Struct;
import dev.jeton.v1.IssueRequest;
import dev.jeton.v1.RefreshRequest;
import java.util.List;
import java.util.function.Consumer;

/** What a token source is asked for. Absent values are null. */
record SourceOptions(
        String subject,
        List<String> audiences,
        List<String> scopes,
        Struct claims,
        java.time.Duration ttl,
        boolean refreshable,
        Secret refreshToken,
        RefreshTokenFile refreshTokenFile,
        Consumer<Secret> onRefreshToken) {

    boolean keepsRefreshToken() {
        return refreshTokenFile != null || onRefreshToken != null;
    }

    IssueRequest issue() {
        IssueRequest.Builder request = IssueRequest.newBuilder()
                .setSubject(subject)
                .addAllAudiences(audiences)
                .addAllScopes(scopes)
                .setRefreshable(refreshable);
        if (claims != null) {
            request.setClaims(claims);
        }
        if (ttl != null) {
            request.setTtl(proto(ttl));
        }
        return request.build();
    }

    RefreshRequest refresh(Secret token) {
        RefreshRequest.Builder request =
                RefreshRequest.newBuilder().setRefreshToken(token.reveal()).addAllScopes(scopes);
        if (ttl != null) {
            request.setTtl(proto(ttl));
        }
        return request.build();
    }

    static Duration proto(java.time.Duration duration) {
        return Duration.newBuilder()
                .setSeconds(duration.getSeconds())
                .setNanos(duration.getNano())
                .build();
    }
}
