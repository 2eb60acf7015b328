package dev.jeton.errors;

import java.util.OptionalLong;

/**
 * {@code RATE_LIMITED} ({@code RESOURCE_EXHAUSTED}). The caller is over its rate.
 */
public final class RateLimitedException extends ServerException {
    private static final long serialVersionUID = 1;

    /**
     * For the library and for tests.
     *
     * @param details what is known
     */
    public RateLimitedException(ErrorDetails details) {
        super(details);
    }

    /**
     * Of the metadata.
     *
     * @return limit per second, if the server told it
     */
    public OptionalLong limitPerSecond() {
        return number("limitPerSecond");
    }
}
