package dev.jeton.errors;

import java.util.Optional;

/**
 * {@code CALLER_FORBIDDEN} ({@code PERMISSION_DENIED}). The caller lacks a permission.
 */
public final class CallerForbiddenException extends ServerException {
    private static final long serialVersionUID = 1;

    /**
     * For the library and for tests.
     *
     * @param details what is known
     */
    public CallerForbiddenException(ErrorDetails details) {
        super(details);
    }

    /**
     * Of the metadata.
     *
     * @return permission, if the server told it
     */
    public Optional<String> permission() {
        return text("permission");
    }
}
