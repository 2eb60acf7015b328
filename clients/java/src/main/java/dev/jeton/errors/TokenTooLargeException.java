package dev.jeton.errors;

import java.util.Optional;
import java.util.OptionalLong;

/**
 * {@code TOKEN_TOO_LARGE} ({@code INVALID_ARGUMENT}). The token would outgrow 4 KiB.
 */
public final class TokenTooLargeException extends ServerException {
    private static final long serialVersionUID = 1;

    /**
     * For the library and for tests.
     *
     * @param details what is known
     */
    public TokenTooLargeException(ErrorDetails details) {
        super(details);
    }

    /**
     * Of the metadata.
     *
     * @return size bytes, if the server told it
     */
    public OptionalLong sizeBytes() {
        return number("sizeBytes");
    }

    /**
     * Of the metadata.
     *
     * @return max size bytes, if the server told it
     */
    public OptionalLong maxSizeBytes() {
        return number("maxSizeBytes");
    }

    /**
     * Of the metadata.
     *
     * @return largest claim, if the server told it
     */
    public Optional<String> largestClaim() {
        return text("largestClaim");
    }
}
