package dev.jeton.errors;

import java.util.Optional;

/**
 * {@code CLAIM_RESERVED} ({@code INVALID_ARGUMENT}). A custom claim has a name that the issuer sets.
 */
public final class ClaimReservedException extends ServerException {
    private static final long serialVersionUID = 1;

    /**
     * For the library and for tests.
     *
     * @param details what is known
     */
    public ClaimReservedException(ErrorDetails details) {
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
