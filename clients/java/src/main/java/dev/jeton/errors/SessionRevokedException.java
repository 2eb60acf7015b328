package dev.jeton.errors;

import java.util.Optional;

/**
 * {@code SESSION_REVOKED} ({@code UNAUTHENTICATED}). The session was revoked.
 */
public final class SessionRevokedException extends ServerException {
    private static final long serialVersionUID = 1;

    /**
     * For the library and for tests.
     *
     * @param details what is known
     */
    public SessionRevokedException(ErrorDetails details) {
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

    /**
     * Of the metadata.
     *
     * @return revocation reason, if the server told it
     */
    public Optional<String> revocationReason() {
        return text("revocationReason");
    }
}
