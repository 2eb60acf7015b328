package dev.jeton.errors;

/**
 * {@code OVERLOADED} ({@code RESOURCE_EXHAUSTED}). This replica has more to do than time, or a queue
 * of it is full, though nobody is over a rate. Another replica may have time.
 */
public final class OverloadedException extends ServerException {
    private static final long serialVersionUID = 1;

    /**
     * For the library and for tests.
     *
     * @param details what is known
     */
    public OverloadedException(ErrorDetails details) {
        super(details);
    }
}
