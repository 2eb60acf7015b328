package dev.jeton.errors;

import java.time.Duration;
import java.util.Optional;

/**
 * {@code REVOCATION_STATE_STALE} ({@code UNAVAILABLE}). This replica cannot prove its revocation state
 * fresh, and refuses to guess.
 */
public final class RevocationStateStaleException extends ServerException {
    private static final long serialVersionUID = 1;

    /**
     * For the library and for tests.
     *
     * @param details what is known
     */
    public RevocationStateStaleException(ErrorDetails details) {
        super(details);
    }

    /**
     * Of the metadata.
     *
     * @return age, if the server told it
     */
    public Optional<Duration> age() {
        return millis("ageMillis");
    }
}
