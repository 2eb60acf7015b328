package dev.jeton.errors;

import java.time.Duration;
import java.util.Optional;

/**
 * {@code TTL_TOO_SHORT} ({@code INVALID_ARGUMENT}). The TTL is zero, negative or below a second.
 */
public final class TtlTooShortException extends ServerException {
    private static final long serialVersionUID = 1;

    /**
     * For the library and for tests.
     *
     * @param details what is known
     */
    public TtlTooShortException(ErrorDetails details) {
        super(details);
    }

    /**
     * Of the metadata.
     *
     * @return requested ttl, if the server told it
     */
    public Optional<Duration> requestedTtl() {
        return millis("requestedTtlMillis");
    }
}
