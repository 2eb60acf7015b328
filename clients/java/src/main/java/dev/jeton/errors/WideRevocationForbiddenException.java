package dev.jeton.errors;

import java.util.Optional;

/**
 * {@code WIDE_REVOCATION_FORBIDDEN} ({@code PERMISSION_DENIED}). A wide target on the public listener.
 */
public final class WideRevocationForbiddenException extends ServerException {
    private static final long serialVersionUID = 1;

    /**
     * For the library and for tests.
     *
     * @param details what is known
     */
    public WideRevocationForbiddenException(ErrorDetails details) {
        super(details);
    }

    /**
     * Of the metadata.
     *
     * @return target kind, if the server told it
     */
    public Optional<String> targetKind() {
        return text("targetKind");
    }
}
