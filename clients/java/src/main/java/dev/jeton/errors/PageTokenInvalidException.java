package dev.jeton.errors;

/**
 * {@code PAGE_TOKEN_INVALID} ({@code INVALID_ARGUMENT}). The page token is foreign or from another
 * query.
 */
public final class PageTokenInvalidException extends ServerException {
    private static final long serialVersionUID = 1;

    /**
     * For the library and for tests.
     *
     * @param details what is known
     */
    public PageTokenInvalidException(ErrorDetails details) {
        super(details);
    }
}
