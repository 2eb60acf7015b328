package dev.jeton.errors;

import java.util.OptionalLong;

/**
 * {@code BATCH_TOO_LARGE} ({@code INVALID_ARGUMENT}). The batch is above its limit.
 */
public final class BatchTooLargeException extends ServerException {
    private static final long serialVersionUID = 1;

    /**
     * For the library and for tests.
     *
     * @param details what is known
     */
    public BatchTooLargeException(ErrorDetails details) {
        super(details);
    }

    /**
     * Of the metadata.
     *
     * @return size, if the server told it
     */
    public OptionalLong size() {
        return number("size");
    }

    /**
     * Of the metadata.
     *
     * @return max size, if the server told it
     */
    public OptionalLong maxSize() {
        return number("maxSize");
    }
}
