package dev.jeton.errors;

import java.util.Optional;

/**
 * {@code AUDIENCE_NOT_ALLOWED} ({@code PERMISSION_DENIED}). The caller may not issue or validate for
 * this audience.
 */
public final class AudienceNotAllowedException extends ServerException {
    private static final long serialVersionUID = 1;

    /**
     * For the library and for tests.
     *
     * @param details what is known
     */
    public AudienceNotAllowedException(ErrorDetails details) {
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
}
