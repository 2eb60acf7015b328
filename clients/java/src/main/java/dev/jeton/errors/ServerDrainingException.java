package dev.jeton.errors;

/**
 * {@code SERVER_DRAINING} ({@code UNAVAILABLE}). The server is draining.
 */
public final class ServerDrainingException extends ServerException {
    private static final long serialVersionUID = 1;

    /**
     * For the library and for tests.
     *
     * @param details what is known
     */
    public ServerDrainingException(ErrorDetails details) {
        super(details);
    }
}
