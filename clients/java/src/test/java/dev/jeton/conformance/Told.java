package dev.jeton.conformance;

import com.google.protobuf.Any;
import com.google.rpc.ErrorInfo;
import dev.jeton.Client;
import dev.jeton.Token;
import dev.jeton.TokenEvent;
import dev.jeton.TokenSource;
import dev.jeton.Verdict;
import dev.jeton.errors.JetonException;
import dev.jeton.errors.ServerException;
import io.grpc.StatusRuntimeException;
import io.grpc.protobuf.StatusProto;
import java.io.IOException;
import java.lang.reflect.Field;
import java.lang.reflect.Method;
import java.lang.reflect.Modifier;
import java.nio.file.DirectoryStream;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.text.MessageFormat;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Objects;
import java.util.Optional;
import java.util.OptionalLong;

/** What the runner answers: errors, verdicts and objects as values of JSON. */
public final class Told {
    private Told() {}

    static Map<String, Object> failure(Throwable error) {
        Map<String, Object> told = new LinkedHashMap<>();
        if (!(error instanceof JetonException known)) {
            told.put("kind", error.getClass().getSimpleName());
            told.put("message", String.valueOf(error.getMessage()));
            error.printStackTrace();
            return told;
        }
        told.put("kind", known.kind());
        told.put("code", known.code().name());
        told.put("reason", known.reason());
        told.put("message", known.getMessage());
        told.put("metadata", known.metadata());
        told.put("fields", fields(known));
        told.put("retry_after_ms", known.retryAfter().map(Duration::toMillis).orElse(null));
        return told;
    }

    /** What the methods of the error's own class give: the typed metadata. */
    private static Map<String, Object> fields(JetonException error) {
        Map<String, Object> found = new HashMap<>();
        if (!(error instanceof ServerException)) {
            return found;
        }
        for (Method method : error.getClass().getDeclaredMethods()) {
            if (!Modifier.isPublic(method.getModifiers()) || method.getParameterCount() > 0) {
                continue;
            }
            Object value;
            try {
                value = method.invoke(error);
            } catch (ReflectiveOperationException impossible) {
                throw new IllegalStateException(impossible);
            }
            String name = method.getName().replaceAll("([A-Z])", "_$1").toLowerCase(Locale.ROOT);
            if (value instanceof OptionalLong number && number.isPresent()) {
                found.put(name, number.getAsLong());
            } else if (value instanceof Optional<?> some && some.isPresent()) {
                Object plain = some.get();
                found.put(name, plain instanceof Duration time ? (Object) (time.toMillis() / 1000.0) : plain.toString());
            }
        }
        return found;
    }

    static Map<String, Object> event(TokenEvent event) {
        return Map.of(
                "kind", event.kind().name().toLowerCase(Locale.ROOT),
                "jti", event.jti(),
                "session_id", event.sessionId(),
                "error", event.error().map(JetonException::kind).orElse(""));
    }

    /** How a call ended. */
    public static Map<String, Object> ended(StatusRuntimeException error) {
        Map<String, Object> told = new HashMap<>();
        told.put("code", error.getStatus().getCode().name());
        told.put("message", Objects.toString(error.getStatus().getDescription(), ""));
        told.put("reason", "");
        told.put("domain", "");
        var status = StatusProto.fromThrowable(error);
        for (Any detail : status == null ? List.<Any>of() : status.getDetailsList()) {
            try {
                if (detail.is(ErrorInfo.class)) {
                    ErrorInfo info = detail.unpack(ErrorInfo.class);
                    told.put("reason", info.getReason());
                    told.put("domain", info.getDomain());
                }
            } catch (com.google.protobuf.InvalidProtocolBufferException malformed) {
                throw new IllegalStateException(malformed);
            }
        }
        return told;
    }

    static Map<String, Object> verdict(Verdict verdict) {
        return Map.of(
                "subject", verdict.subject(),
                "audiences", verdict.audiences(),
                "scopes", verdict.scopes(),
                "jti", verdict.jti(),
                "session_id", verdict.sessionId(),
                "client_id", verdict.clientId(),
                "claims", verdict.claims());
    }

    /** The objects, printed in every way; their fields too, as a debugger shows them. */
    static List<String> shown(TokenSource source, Client client) {
        Token token = source.get();
        List<Object> all = new ArrayList<>(List.of(
                source, client, token, source.interceptor(), source.callCredentials(), Optional.of(token)));
        for (Object each : new Object[] {source, client}) {
            for (Field field : each.getClass().getDeclaredFields()) {
                try {
                    field.setAccessible(true);
                    all.add(String.valueOf(field.get(each)));
                } catch (IllegalAccessException impossible) {
                    throw new IllegalStateException(impossible);
                }
            }
        }
        List<String> texts = new ArrayList<>();
        for (Object each : all) {
            texts.add(String.valueOf(each));
            texts.add(String.format("%s %S", each, each));
            texts.add(MessageFormat.format("{0}", each));
        }
        texts.add(all.toString());
        texts.add(Arrays.toString(all.toArray()));
        return texts;
    }

    /** How many sockets the process holds open. */
    static long sockets() throws IOException {
        long count = 0;
        try (DirectoryStream<Path> open = Files.newDirectoryStream(Path.of("/proc/self/fd"))) {
            for (Path each : open) {
                try {
                    count += Files.readSymbolicLink(each).toString().startsWith("socket:") ? 1 : 0;
                } catch (NoSuchFileException closed) {
                    // That of the directory itself, or one that was closed meanwhile.
                    continue;
                }
            }
        }
        return count;
    }

    /** Threads that live, but those of Java itself, and the runner's own. */
    static List<String> threads() {
        return Thread.getAllStackTraces().keySet().stream()
                .filter(thread -> thread.getThreadGroup() != null
                        && thread.getThreadGroup().getName().equals("main"))
                .map(Thread::getName)
                .filter(name -> !name.equals("main")
                        && !name.startsWith("runner")
                        && !name.startsWith("ForkJoinPool.commonPool"))
                .toList();
    }
}
