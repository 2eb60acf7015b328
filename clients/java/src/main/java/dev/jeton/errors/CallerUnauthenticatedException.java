package dev.jeton.errors;

/**
 * {@code CALLER_UNAUTHENTICATED} ({@code UNAUTHENTICATED}). No credential, or a bad one.
 */
public final class CallerUnauthenticatedException extends ServerException {
    private static final long serialVersionUID = 1;

    /**
     * For the library and for tests.
     *
     * @param details what is known
     */
    public CallerUnauthenticatedException(ErrorDetails details) {
        super(details);
    }
}
