package dev.jeton.errors;

import java.util.Optional;

/**
 * {@code FIELD_INVALID} ({@code INVALID_ARGUMENT}). A field has the wrong form.
 */
public final class FieldInvalidException extends ServerException {
    private static final long serialVersionUID = 1;

    /**
     * For the library and for tests.
     *
     * @param details what is known
     */
    public FieldInvalidException(ErrorDetails details) {
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

    /**
     * Of the metadata.
     *
     * @return rule, if the server told it
     */
    public Optional<String> rule() {
        return text("rule");
    }
}
