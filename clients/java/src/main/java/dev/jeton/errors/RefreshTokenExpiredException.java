package dev.jeton.errors;

import java.time.Instant;
import java.util.Optional;

/**
 * {@code REFRESH_TOKEN_EXPIRED} ({@code UNAUTHENTICATED}). The session is past its idle or absolute
 * limit.
 */
public final class RefreshTokenExpiredException extends ServerException {
    private static final long serialVersionUID = 1;

    /**
     * For the library and for tests.
     *
     * @param details what is known
     */
    public RefreshTokenExpiredException(ErrorDetails details) {
        super(details);
    }

    /**
     * Of the metadata.
     *
     * @return limit, if the server told it
     */
    public Optional<String> limit() {
        return text("limit");
    }

    /**
     * Of the metadata.
     *
     * @return expire time, if the server told it
     */
    public Optional<Instant> expireTime() {
        return instant("expireTime");
    }
}
