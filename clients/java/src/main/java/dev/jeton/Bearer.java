package dev.jeton;

import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.security.cert.CertificateEncodingException;
import java.security.cert.X509Certificate;
import java.util.Base64;
import java.util.Iterator;
import java.util.List;
import javax.net.ssl.SSLPeerUnverifiedException;
import javax.net.ssl.SSLSession;

/** What a call brings: its token, and the thumbprint of its certificate. */
final class Bearer {
    private static final int TOKEN_MAX = 8192;

    private Bearer() {}

    /** The token of the values of {@code authorization}. More than one value counts as none. */
    static String token(Iterator<String> values) {
        String value = values.hasNext() ? values.next() : "";
        int space = value.indexOf(' ');
        if (values.hasNext() || space < 0 || !value.substring(0, space).equalsIgnoreCase("bearer")) {
            throw new RefusedException(Refusal.noToken());
        }
        int begin = space;
        int end = value.length();
        while (begin < end && value.charAt(begin) == ' ') {
            begin++;
        }
        while (end > begin && value.charAt(end - 1) == ' ') {
            end--;
        }
        if (begin == end) {
            throw new RefusedException(Refusal.noToken());
        }
        return value.substring(begin, end);
    }

    /** Refuses what jeton need not be asked about, and what would end a stream of verdicts. */
    static void requireForm(String token) {
        boolean good = !token.isEmpty() && token.length() <= TOKEN_MAX;
        for (int i = 0; good && i < token.length(); i++) {
            good = token.charAt(i) > ' ' && token.charAt(i) <= '~';
        }
        if (!good) {
            throw new RefusedException(
                    new Refusal("MALFORMED", "The token is MALFORMED. Send one that jeton issued.", List.of()));
        }
    }

    /** {@code x5t#S256} of the certificate that the peer of a connection presented; empty if there is none. */
    static String thumbprint(SSLSession session) {
        try {
            return session != null && session.getPeerCertificates()[0] instanceof X509Certificate certificate
                    ? thumbprint(certificate)
                    : "";
        } catch (SSLPeerUnverifiedException none) {
            return "";
        }
    }

    /** {@code x5t#S256} of a certificate (RFC 8705). */
    static String thumbprint(X509Certificate certificate) {
        try {
            byte[] hash = MessageDigest.getInstance("SHA-256").digest(certificate.getEncoded());
            return Base64.getUrlEncoder().withoutPadding().encodeToString(hash);
        } catch (CertificateEncodingException unusable) {
            return "";
        } catch (NoSuchAlgorithmException impossible) {
            throw new IllegalStateException(impossible);
        }
    }
}
