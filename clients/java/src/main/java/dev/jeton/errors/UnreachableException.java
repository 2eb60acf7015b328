package dev.jeton.errors;

/**
 * Nothing answered at {@link #endpoint()}: nothing listens there, TLS does not match, or the connection
 * broke.
 */
public final class UnreachableException extends JetonException {
    private static final long serialVersionUID = 1;

    /**
     * For the library and for tests.
     *
     * @param details what is known
     */
    public UnreachableException(ErrorDetails details) {
        super(details);
    }
}
