package dev.jeton.errors;

/**
 * The deadline passed before the answer. What was asked may have been done.
 */
public final class DeadlineExceededException extends JetonException {
    private static final long serialVersionUID = 1;

    /**
     * For the library and for tests.
     *
     * @param details what is known
     */
    public DeadlineExceededException(ErrorDetails details) {
        super(details);
    }
}
