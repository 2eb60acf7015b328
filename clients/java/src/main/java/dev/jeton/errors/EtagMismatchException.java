package dev.jeton.errors;

import java.util.Optional;

/**
 * {@code ETAG_MISMATCH} ({@code ABORTED}). The etag is stale.
 */
public final class EtagMismatchException extends ServerException {
    private static final long serialVersionUID = 1;

    /**
     * For the library and for tests.
     *
     * @param details what is known
     */
    public EtagMismatchException(ErrorDetails details) {
        super(details);
    }

    /**
     * Of the metadata.
     *
     * @return current etag, if the server told it
     */
    public Optional<String> currentEtag() {
        return text("currentEtag");
    }
}
