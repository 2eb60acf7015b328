package dev.jeton.errors;

/**
 * {@code REFRESH_TOKEN_INVALID} ({@code UNAUTHENTICATED}). Not a refresh token of this issuer, or of
 * this caller; or one that was presented before the latest refresh, and looked at after it.
 */
public final class RefreshTokenInvalidException extends ServerException {
    private static final long serialVersionUID = 1;

    /**
     * For the library and for tests.
     *
     * @param details what is known
     */
    public RefreshTokenInvalidException(ErrorDetails details) {
        super(details);
    }
}
