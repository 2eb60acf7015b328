package dev.jeton.errors;

import java.util.Optional;

/**
 * {@code NOT_FOUND} ({@code NOT_FOUND}). The resource does not exist.
 */
public final class NotFoundException extends ServerException {
    private static final long serialVersionUID = 1;

    /**
     * For the library and for tests.
     *
     * @param details what is known
     */
    public NotFoundException(ErrorDetails details) {
        super(details);
    }

    /**
     * Of the metadata.
     *
     * @return resource type, if the server told it
     */
    public Optional<String> resourceType() {
        return text("resourceType");
    }

    /**
     * Of the metadata.
     *
     * @return resource name, if the server told it
     */
    public Optional<String> resourceName() {
        return text("resourceName");
    }
}
