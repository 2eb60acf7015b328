package dev.jeton.errors;

/**
 * A text is no endpoint, or the credential would go over plaintext.
 */
public final class EndpointInvalidException extends JetonException {
    private static final long serialVersionUID = 1;

    /**
     * For the library and for tests.
     *
     * @param details what is known
     */
    public EndpointInvalidException(ErrorDetails details) {
        super(details);
    }
}
