package dev.jeton.errors;

import java.time.Duration;
import java.util.Optional;

/**
 * {@code CLOCK_SKEW} ({@code UNAVAILABLE}). Server and database clocks are too far apart to mint or to
 * judge.
 */
public final class ClockSkewException extends ServerException {
    private static final long serialVersionUID = 1;

    /**
     * For the library and for tests.
     *
     * @param details what is known
     */
    public ClockSkewException(ErrorDetails details) {
        super(details);
    }

    /**
     * Of the metadata.
     *
     * @return offset, if the server told it
     */
    public Optional<Duration> offset() {
        return millis("offsetMillis");
    }
}
