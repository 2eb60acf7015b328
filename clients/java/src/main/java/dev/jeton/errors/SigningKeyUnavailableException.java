package dev.jeton.errors;

import java.util.Optional;

/**
 * {@code SIGNING_KEY_UNAVAILABLE} ({@code UNAVAILABLE}). No key may sign now, or the MAC key of this
 * refresh token cannot be used: then the token is not spent.
 */
public final class SigningKeyUnavailableException extends ServerException {
    private static final long serialVersionUID = 1;

    /**
     * For the library and for tests.
     *
     * @param details what is known
     */
    public SigningKeyUnavailableException(ErrorDetails details) {
        super(details);
    }

    /**
     * Of the metadata.
     *
     * @return algorithm, if the server told it
     */
    public Optional<String> algorithm() {
        return text("algorithm");
    }

    /**
     * Of the metadata.
     *
     * @return key id, if the server told it
     */
    public Optional<String> keyId() {
        return text("keyId");
    }
}
