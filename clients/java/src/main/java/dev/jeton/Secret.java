package dev.jeton;

import java.nio.charset.StandardCharsets;
import java.security.MessageDigest;

/**
 * A token, refresh token or API key. It does not print: {@link #reveal()} alone gives the text.
 */
public final class Secret {
    private final String text;

    private Secret(String text) {
        this.text = text;
    }

    /**
     * Wraps a text.
     *
     * @param text the text
     * @return the secret
     */
    public static Secret of(String text) {
        if (text == null || text.isEmpty()) {
            throw new IllegalArgumentException("a secret is not empty");
        }
        return new Secret(text);
    }

    /**
     * Gives the text.
     *
     * @return the text
     */
    public String reveal() {
        return text;
    }

    @Override
    public boolean equals(Object other) {
        return other instanceof Secret secret
                && MessageDigest.isEqual(
                        text.getBytes(StandardCharsets.UTF_8), secret.text.getBytes(StandardCharsets.UTF_8));
    }

    @Override
    public int hashCode() {
        return text.hashCode();
    }

    @Override
    public String toString() {
        return "[secret]";
    }
}
