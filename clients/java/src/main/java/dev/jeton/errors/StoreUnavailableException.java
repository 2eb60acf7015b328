package dev.jeton.errors;

/**
 * {@code STORE_UNAVAILABLE} ({@code UNAVAILABLE}). The database is out of reach; or it was replaced
 * while a change was waited for, and may have lost that.
 */
public final class StoreUnavailableException extends ServerException {
    private static final long serialVersionUID = 1;

    /**
     * For the library and for tests.
     *
     * @param details what is known
     */
    public StoreUnavailableException(ErrorDetails details) {
        super(details);
    }
}
