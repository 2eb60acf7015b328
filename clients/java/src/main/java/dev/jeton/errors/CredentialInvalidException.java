package dev.jeton.errors;

/**
 * No API key is in the text or file, or a file of TLS cannot be used. {@link #file()} names the file.
 */
public final class CredentialInvalidException extends JetonException {
    private static final long serialVersionUID = 1;

    /**
     * For the library and for tests.
     *
     * @param details what is known
     */
    public CredentialInvalidException(ErrorDetails details) {
        super(details);
    }
}
