package dev.jeton.errors;

import java.time.Duration;
import java.util.Optional;

/**
 * {@code TTL_EXCEEDS_MAXIMUM} ({@code INVALID_ARGUMENT}). The TTL asked for is above the maximum.
 */
public final class TtlExceedsMaximumException extends ServerException {
    private static final long serialVersionUID = 1;

    /**
     * For the library and for tests.
     *
     * @param details what is known
     */
    public TtlExceedsMaximumException(ErrorDetails details) {
        super(details);
    }

    /**
     * Of the metadata.
     *
     * @return audience, if the server told it
     */
    public Optional<String> audience() {
        return text("audience");
    }

    /**
     * Of the metadata.
     *
     * @return requested ttl, if the server told it
     */
    public Optional<Duration> requestedTtl() {
        return seconds("requestedTtlSeconds");
    }

    /**
     * Of the metadata.
     *
     * @return max ttl, if the server told it
     */
    public Optional<Duration> maxTtl() {
        return seconds("maxTtlSeconds");
    }

    /**
     * Of the metadata.
     *
     * @return likely unit, if the server told it
     */
    public Optional<String> likelyUnit() {
        return text("likelyUnit");
    }
}
