package dev.jeton.errors;

/**
 * A refusal whose {@link #reason()} this library does not know: the server is newer.
 */
public final class UnknownReasonException extends ServerException {
    private static final long serialVersionUID = 1;

    /**
     * For the library and for tests.
     *
     * @param details what is known
     */
    public UnknownReasonException(ErrorDetails details) {
        super(details);
    }
}
