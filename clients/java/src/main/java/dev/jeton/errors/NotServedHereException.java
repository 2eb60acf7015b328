package dev.jeton.errors;

import java.util.Optional;

/**
 * {@code NOT_SERVED_HERE} ({@code UNIMPLEMENTED}). The service, the method, the value or the message's
 * encoding is not served on this listener by this version.
 */
public final class NotServedHereException extends ServerException {
    private static final long serialVersionUID = 1;

    /**
     * For the library and for tests.
     *
     * @param details what is known
     */
    public NotServedHereException(ErrorDetails details) {
        super(details);
    }

    /**
     * Of the metadata.
     *
     * @return service, if the server told it
     */
    public Optional<String> service() {
        return text("service");
    }

    /**
     * Of the metadata.
     *
     * @return listener, if the server told it
     */
    public Optional<String> listener() {
        return text("listener");
    }

    /**
     * Of the metadata.
     *
     * @return encoding, if the server told it
     */
    public Optional<String> encoding() {
        return text("encoding");
    }
}
