package dev.jeton.errors;

/**
 * {@code INTERNAL} ({@code INTERNAL}). A defect on our side.
 */
public final class InternalException extends ServerException {
    private static final long serialVersionUID = 1;

    /**
     * For the library and for tests.
     *
     * @param details what is known
     */
    public InternalException(ErrorDetails details) {
        super(details);
    }
}
