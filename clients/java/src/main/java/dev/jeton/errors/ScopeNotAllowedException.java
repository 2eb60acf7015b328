package dev.jeton.errors;

import java.util.Optional;

/**
 * {@code SCOPE_NOT_ALLOWED} ({@code PERMISSION_DENIED}). A scope is outside the policy or the session.
 */
public final class ScopeNotAllowedException extends ServerException {
    private static final long serialVersionUID = 1;

    /**
     * For the library and for tests.
     *
     * @param details what is known
     */
    public ScopeNotAllowedException(ErrorDetails details) {
        super(details);
    }

    /**
     * Of the metadata.
     *
     * @return scope, if the server told it
     */
    public Optional<String> scope() {
        return text("scope");
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
