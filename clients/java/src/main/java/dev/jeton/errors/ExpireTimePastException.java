package dev.jeton.errors;

import java.time.Instant;
import java.util.Optional;

/**
 * {@code EXPIRE_TIME_PAST} ({@code INVALID_ARGUMENT}). `expire_time` is not in the future.
 */
public final class ExpireTimePastException extends ServerException {
    private static final long serialVersionUID = 1;

    /**
     * For the library and for tests.
     *
     * @param details what is known
     */
    public ExpireTimePastException(ErrorDetails details) {
        super(details);
    }

    /**
     * Of the metadata.
     *
     * @return expire time, if the server told it
     */
    public Optional<Instant> expireTime() {
        return instant("expireTime");
    }

    /**
     * Of the metadata.
     *
     * @return server time, if the server told it
     */
    public Optional<Instant> serverTime() {
        return instant("serverTime");
    }
}
