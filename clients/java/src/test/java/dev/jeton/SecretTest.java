package dev.jeton;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.google.protobuf.Descriptors.Descriptor;
import com.google.protobuf.Descriptors.FieldDescriptor;
import com.google.protobuf.Message;
import dev.jeton.servlet.GuardFilter;
import dev.jeton.testing.FakeJeton;
import dev.jeton.v1.BulkRevokeRequest;
import dev.jeton.v1.CreateApiKeyResponse;
import dev.jeton.v1.RevocationReason;
import dev.jeton.v1.RevocationTarget;
import dev.jeton.v1.RevokeRequest;
import java.lang.reflect.Method;
import java.lang.reflect.Modifier;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.List;
import java.util.Set;
import org.junit.jupiter.api.Test;

class SecretTest {
    /** All public classes with methods that take or give messages of the API definitions. */
    private static final List<Class<?>> PUBLIC = List.of(
            Client.class, ClientBuilder.class, Admin.class, Revocation.class, IssuedToken.class, CreatedApiKey.class,
            Token.class, TokenSource.class, TokenSourceBuilder.class, Guard.class, GuardBuilder.class, Verdict.class,
            GuardFilter.class, FakeJeton.class);

    private static boolean holdsASecret(Descriptor message, Set<Descriptor> seen) {
        if (!seen.add(message)) {
            return false;
        }
        for (FieldDescriptor field : message.getFields()) {
            if (field.getOptions().getDebugRedact()
                    || (field.getJavaType() == FieldDescriptor.JavaType.MESSAGE
                            && holdsASecret(field.getMessageType(), seen))) {
                return true;
            }
        }
        return false;
    }

    private static boolean holdsASecret(Class<?> type, boolean isAnswer) throws ReflectiveOperationException {
        if (!Message.class.isAssignableFrom(type) || type == Message.class) {
            return false;
        }
        Set<Descriptor> seen = new HashSet<>();
        if (isAnswer) {
            // Answers name the token of a target by its jti: the server keeps the text of none.
            seen.add(RevocationTarget.getDescriptor());
        }
        return holdsASecret((Descriptor) type.getMethod("getDescriptor").invoke(null), seen);
    }

    /** Such messages print their secrets, and that cannot be changed. */
    @Test
    void noMethodTakesOrGivesAMessageThatHoldsASecret() throws ReflectiveOperationException {
        assertTrue(holdsASecret(RevokeRequest.class, false) && holdsASecret(CreateApiKeyResponse.class, true));
        List<String> wrong = new ArrayList<>();
        int seen = 0;
        for (Class<?> each : PUBLIC) {
            for (Method method : each.getDeclaredMethods()) {
                if (!Modifier.isPublic(method.getModifiers())) {
                    continue;
                }
                boolean holds = holdsASecret(method.getReturnType(), true);
                for (Class<?> type : method.getParameterTypes()) {
                    seen += Message.class.isAssignableFrom(type) ? 1 : 0;
                    holds |= holdsASecret(type, false);
                }
                if (holds) {
                    wrong.add(each.getSimpleName() + "." + method.getName());
                }
            }
        }
        assertTrue(seen > 20, "the methods were read: " + seen);
        assertEquals(List.of(), wrong);
    }

    @Test
    void whatHoldsASecretPrintsTheRest() {
        Revocation revocation = Revocation.ofToken(Secret.of("hidden"))
                .because(RevocationReason.REVOCATION_REASON_LEAKED)
                .note("seen in a log");
        assertFalse(revocation.toString().contains("hidden"), revocation.toString());
        assertTrue(revocation.toString().contains("seen in a log"), revocation.toString());
        assertTrue(Revocation.ofJti("an-id").toString().contains("an-id"));

        String many = Redacted.text(BulkRevokeRequest.newBuilder()
                .addTargets(RevocationTarget.newBuilder().setToken("hidden"))
                .addTargets(RevocationTarget.newBuilder().setJti("an-id"))
                .build());
        assertFalse(many.contains("hidden"), many);
        assertTrue(many.contains("[secret]") && many.contains("an-id"), many);
        String key = Redacted.text(CreateApiKeyResponse.newBuilder().setSecret("hidden").build());
        assertEquals("secret: \"[secret]\"", key);
    }
}
