package dev.jeton.errors;

/**
 * What answers at {@link #endpoint()} is not a jeton, or one that is too old for the call.
 */
public final class NotJetonException extends JetonException {
    private static final long serialVersionUID = 1;

    /**
     * For the library and for tests.
     *
     * @param details what is known
     */
    public NotJetonException(ErrorDetails details) {
        super(details);
    }
}
