package dev.jeton;

import com.google.protobuf.ByteString;
import com.google.protobuf.UnsafeByteOperations;
import java.lang.invoke.MethodHandles;
import java.lang.invoke.VarHandle;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
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
    private static final long EACH = 0x0101_0101_0101_0101L;
    private static final VarHandle EIGHT = MethodHandles.byteArrayViewVarHandle(long[].class, ByteOrder.LITTLE_ENDIAN);

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

    /** The bytes of a token. Refuses what jeton need not be asked about, and what would end a stream of verdicts. */
    static ByteString bytes(String token) {
        byte[] bytes = token.getBytes(StandardCharsets.ISO_8859_1);
        // A character that has no byte there becomes a question mark, which is printable: then the texts differ.
        boolean isSame = new String(bytes, StandardCharsets.ISO_8859_1).equals(token);
        if (bytes.length == 0 || bytes.length > TOKEN_MAX || !isSame || !isPrintable(bytes)) {
            throw new RefusedException(
                    new Refusal("MALFORMED", "The token is MALFORMED. Send one that jeton issued.", List.of()));
        }
        return UnsafeByteOperations.unsafeWrap(bytes);
    }

    /** Whether each is from {@code !} to {@code ~}. Eight are looked at together: this runs for each call. */
    private static boolean isPrintable(byte[] bytes) {
        int at = 0;
        for (; at + Long.BYTES <= bytes.length; at += Long.BYTES) {
            long eight = (long) EIGHT.get(bytes, at);
            // The highest bit of each sum says whether its byte is at least '!', and whether it is above '~'.
            long good = (eight + EACH * (0x80 - '!')) & ~(eight + EACH * (0x7f - '~')) & ~eight;
            if ((good & EACH * 0x80) != EACH * 0x80) {
                return false;
            }
        }
        for (; at < bytes.length; at++) {
            if (bytes[at] < '!' || bytes[at] > '~') {
                return false;
            }
        }
        return true;
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
