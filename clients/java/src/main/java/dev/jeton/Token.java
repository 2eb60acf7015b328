package dev.jeton;

/**
 * A token in hand. Its text does not print.
 */
public final class Token {
    private final Secret secret;
    private final String jti;
    private final String sessionId;
    private final String authorization;

    Token(Secret secret, String jti, String sessionId) {
        this.secret = secret;
        this.jti = jti;
        this.sessionId = sessionId;
        authorization = "Bearer " + secret.reveal();
    }

    /**
     * Gives the text.
     *
     * @return the text
     */
    public String reveal() {
        return secret.reveal();
    }

    /**
     * The token for a call of {@link Client}.
     *
     * @return the text, which does not print
     */
    public Secret secret() {
        return secret;
    }

    /**
     * The value of an {@code authorization} header.
     *
     * @return {@code Bearer} and the text
     */
    public String authorization() {
        return authorization;
    }

    /**
     * The id of the token.
     *
     * @return {@code jti}
     */
    public String jti() {
        return jti;
    }

    /**
     * The session of the token.
     *
     * @return {@code sid}; empty if it has none
     */
    public String sessionId() {
        return sessionId;
    }

    boolean isSame(Token other) {
        return secret.equals(other.secret);
    }

    @Override
    public String toString() {
        return "Token[jti=" + jti + ", text=[secret]]";
    }
}
