package dev.jeton.errors;

import java.util.Optional;

/**
 * {@code QUOTA_EXCEEDED} ({@code RESOURCE_EXHAUSTED}). The caller has as many live sessions, or live
 * revocations by bare jti, as it may have; or the subject has as many live sessions as its policy
 * allows. Room comes when some of them end.
 */
public final class QuotaExceededException extends ServerException {
    private static final long serialVersionUID = 1;

    /**
     * For the library and for tests.
     *
     * @param details what is known
     */
    public QuotaExceededException(ErrorDetails details) {
        super(details);
    }

    /**
     * Of the metadata.
     *
     * @return quota, if the server told it
     */
    public Optional<String> quota() {
        return text("quota");
    }
}
