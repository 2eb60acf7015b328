package dev.jeton.errors;

/**
 * {@code REVISION_INVALID} ({@code INVALID_ARGUMENT}). The revision is malformed or from another log.
 */
public final class RevisionInvalidException extends ServerException {
    private static final long serialVersionUID = 1;

    /**
     * For the library and for tests.
     *
     * @param details what is known
     */
    public RevisionInvalidException(ErrorDetails details) {
        super(details);
    }
}
