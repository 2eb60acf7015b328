package dev.jeton.errors;

import java.time.Instant;
import java.util.Optional;

/**
 * {@code CLIENT_LOCKED} ({@code PERMISSION_DENIED}). The caller is locked: nothing is issued to it.
 */
public final class ClientLockedException extends ServerException {
    private static final long serialVersionUID = 1;

    /**
     * For the library and for tests.
     *
     * @param details what is known
     */
    public ClientLockedException(ErrorDetails details) {
        super(details);
    }

    /**
     * Of the metadata.
     *
     * @return until time, if the server told it
     */
    public Optional<Instant> untilTime() {
        return instant("untilTime");
    }
}
