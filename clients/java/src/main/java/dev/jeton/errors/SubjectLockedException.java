package dev.jeton.errors;

import java.time.Instant;
import java.util.Optional;

/**
 * {@code SUBJECT_LOCKED} ({@code PERMISSION_DENIED}). The subject is locked: nothing is issued for it.
 */
public final class SubjectLockedException extends ServerException {
    private static final long serialVersionUID = 1;

    /**
     * For the library and for tests.
     *
     * @param details what is known
     */
    public SubjectLockedException(ErrorDetails details) {
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
