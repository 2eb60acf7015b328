package dev.jeton.errors;

import java.util.Optional;

/**
 * {@code CLAIM_NUMBER_UNSAFE} ({@code INVALID_ARGUMENT}). A number in a custom claim cannot be kept
 * exactly.
 */
public final class ClaimNumberUnsafeException extends ServerException {
    private static final long serialVersionUID = 1;

    /**
     * For the library and for tests.
     *
     * @param details what is known
     */
    public ClaimNumberUnsafeException(ErrorDetails details) {
        super(details);
    }

    /**
     * Of the metadata.
     *
     * @return claim, if the server told it
     */
    public Optional<String> claim() {
        return text("claim");
    }
}
