package dev.jeton.errors;

import java.util.OptionalLong;

/**
 * {@code AFFECTED_SESSIONS_EXCEEDED} ({@code FAILED_PRECONDITION}). More sessions would be hit than
 * allowed.
 */
public final class AffectedSessionsExceededException extends ServerException {
    private static final long serialVersionUID = 1;

    /**
     * For the library and for tests.
     *
     * @param details what is known
     */
    public AffectedSessionsExceededException(ErrorDetails details) {
        super(details);
    }

    /**
     * Of the metadata.
     *
     * @return affected sessions, if the server told it
     */
    public OptionalLong affectedSessions() {
        return number("affectedSessions");
    }

    /**
     * Of the metadata.
     *
     * @return max affected sessions, if the server told it
     */
    public OptionalLong maxAffectedSessions() {
        return number("maxAffectedSessions");
    }
}
