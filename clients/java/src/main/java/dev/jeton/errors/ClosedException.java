package dev.jeton.errors;

/**
 * The object is closed.
 */
public final class ClosedException extends JetonException {
    private static final long serialVersionUID = 1;

    /**
     * For the library and for tests.
     *
     * @param details what is known
     */
    public ClosedException(ErrorDetails details) {
        super(details);
    }
}
