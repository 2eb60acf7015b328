package dev.jeton.errors;

import java.util.Optional;

/**
 * {@code SUBJECT_NOT_ALLOWED} ({@code PERMISSION_DENIED}). The caller may not issue for this subject.
 */
public final class SubjectNotAllowedException extends ServerException {
    private static final long serialVersionUID = 1;

    /**
     * For the library and for tests.
     *
     * @param details what is known
     */
    public SubjectNotAllowedException(ErrorDetails details) {
        super(details);
    }

    /**
     * Of the metadata.
     *
     * @return subject, if the server told it
     */
    public Optional<String> subject() {
        return text("subject");
    }
}
