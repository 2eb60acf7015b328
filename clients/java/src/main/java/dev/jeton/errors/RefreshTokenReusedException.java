package dev.jeton.errors;

import java.util.Optional;

/**
 * {@code REFRESH_TOKEN_REUSED} ({@code UNAUTHENTICATED}). A spent refresh token was presented; the
 * session is now revoked.
 */
public final class RefreshTokenReusedException extends ServerException {
    private static final long serialVersionUID = 1;

    /**
     * For the library and for tests.
     *
     * @param details what is known
     */
    public RefreshTokenReusedException(ErrorDetails details) {
        super(details);
    }

    /**
     * Of the metadata.
     *
     * @return session id, if the server told it
     */
    public Optional<String> sessionId() {
        return text("sessionId");
    }
}
