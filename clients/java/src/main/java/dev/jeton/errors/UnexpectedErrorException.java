package dev.jeton.errors;

/**
 * A status that says nothing more; see {@link #code()}.
 */
public final class UnexpectedErrorException extends JetonException {
    private static final long serialVersionUID = 1;

    /**
     * For the library and for tests.
     *
     * @param details what is known
     */
    public UnexpectedErrorException(ErrorDetails details) {
        super(details);
    }
}
