package dev.jeton.errors;

import java.util.Optional;

/**
 * {@code FIELD_REQUIRED} ({@code INVALID_ARGUMENT}). A required field is empty.
 */
public final class FieldRequiredException extends ServerException {
    private static final long serialVersionUID = 1;

    /**
     * For the library and for tests.
     *
     * @param details what is known
     */
    public FieldRequiredException(ErrorDetails details) {
        super(details);
    }

    /**
     * Of the metadata.
     *
     * @return field, if the server told it
     */
    public Optional<String> field() {
        return text("field");
    }
}
