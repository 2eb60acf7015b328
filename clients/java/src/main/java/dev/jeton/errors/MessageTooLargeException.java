package dev.jeton.errors;

import java.util.OptionalLong;

/**
 * {@code MESSAGE_TOO_LARGE} ({@code INVALID_ARGUMENT}). The message is longer, in bytes, than its
 * method takes.
 */
public final class MessageTooLargeException extends ServerException {
    private static final long serialVersionUID = 1;

    /**
     * For the library and for tests.
     *
     * @param details what is known
     */
    public MessageTooLargeException(ErrorDetails details) {
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
