package dev.jeton;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.jeton.errors.CredentialInvalidException;
import dev.jeton.errors.EndpointInvalidException;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

class EndpointTest {
    @Test
    void readsHostAndPort() {
        assertEquals(new Endpoint("jeton.example", 443, true), Endpoint.parse("https://jeton.example"));
        assertEquals(new Endpoint("jeton.example", 80, false), Endpoint.parse("http://jeton.example/"));
        assertEquals(new Endpoint("::1", 7070, false), Endpoint.parse("http://[::1]:7070"));
        assertEquals("[::1]:7070", Endpoint.parse("http://[::1]:7070").address());
    }

    @ParameterizedTest
    @ValueSource(strings = {
        "", "jeton:7070", "ftp://h", "http://", "http://u:hidden@h", "http://h/hidden", "http://h?hidden", "http://h#hidden",
        "http://h:0", "http://h:65536", "http://h:", "http://h:+1", "http://[::1", "http://[hidden]:1", "http://h hidden",
        "http://h:1\n", "HTTP://h",
    })
    void refusesAllElseWithoutRepeatingIt(String text) {
        var error = assertThrows(EndpointInvalidException.class, () -> Endpoint.parse(text));
        assertFalse(error.getMessage().contains("hidden"));
    }

    @Test
    void knowsWhatStaysOnThisMachine() {
        assertTrue(Endpoint.parse("http://localhost").isLoopback());
        assertTrue(Endpoint.parse("http://127.9.9.9").isLoopback());
        assertTrue(Endpoint.parse("http://[::1]").isLoopback());
        assertFalse(Endpoint.parse("http://127.evil.example").isLoopback());
    }

    @Test
    void refusesTheKeyOverPlaintext() {
        String key = "jtk_0123456789_abcdefghijklmnopqrstuvwxyz";
        var builder = Client.builder("http://jeton.example").apiKey(key);
        var error = assertThrows(EndpointInvalidException.class, builder::build);
        assertFalse(error.getMessage().contains(key));
        builder.allowPlaintext().build().close();
    }

    @Test
    void refusesTextsThatAreNoKey() {
        for (String text : new String[] {null, "", "no-key", "jtk_short_x"}) {
            var builder = Client.builder("http://localhost").apiKey(text);
            assertThrows(CredentialInvalidException.class, builder::build);
        }
    }

    @Test
    void readsThePolicyOfEachMethod() {
        var validate = MethodPolicy.of(dev.jeton.v1.TokenServiceGrpc.getValidateMethod());
        assertTrue(validate.repeats());
        assertEquals(2_000_000_000L, validate.timeoutNanos());
        assertEquals(50_000_000L, validate.pauseNanos(0));
        assertEquals(500_000_000L, validate.pauseNanos(9));
        assertFalse(MethodPolicy.of(dev.jeton.v1.AdminServiceGrpc.getUpdatePolicyMethod()).repeats());
        assertTrue(MethodPolicy.of(dev.jeton.v1.AdminServiceGrpc.getListPoliciesMethod()).repeats());
    }

    @Test
    void takesABrokenConnectionAsUnreachable() {
        var broken = io.grpc.Status.UNKNOWN
                .withDescription("channel closed")
                .withCause(new java.nio.channels.ClosedChannelException());
        assertEquals("Unreachable", dev.jeton.errors.JetonException.from(broken, null, "http://h:1").kind());
        var told = io.grpc.Status.UNKNOWN.withDescription("a server said so");
        assertEquals("UnexpectedError", dev.jeton.errors.JetonException.from(told, null, "http://h:1").kind());
    }
}
