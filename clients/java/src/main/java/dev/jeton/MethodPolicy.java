package dev.jeton;

import com.google.gson.JsonElement;
import com.google.gson.JsonObject;
import com.google.gson.JsonParser;
import io.grpc.MethodDescriptor;
import java.io.IOException;
import java.io.InputStream;
import java.io.InputStreamReader;
import java.io.UncheckedIOException;
import java.math.BigDecimal;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.HashMap;
import java.util.Map;

/** How long a method may take, and how often it is repeated: from service_config.json, as in all libraries. */
record MethodPolicy(long timeoutNanos, boolean repeats, int rounds, long firstNanos, long longestNanos, double factor) {
    private static final Map<String, MethodPolicy> ALL = read();
    private static final MethodPolicy OTHERS =
            new MethodPolicy(Duration.ofSeconds(10).toNanos(), false, 1, 0, 0, 1);

    static MethodPolicy of(MethodDescriptor<?, ?> method) {
        MethodPolicy found = ALL.get(method.getFullMethodName());
        return found != null ? found : ALL.getOrDefault(method.getServiceName(), OTHERS);
    }

    /** The longest pause after round {@code number}, which counts from 0. */
    long pauseNanos(int number) {
        return (long) Math.min(longestNanos, firstNanos * Math.pow(factor, number));
    }

    private static Map<String, MethodPolicy> read() {
        Map<String, MethodPolicy> found = new HashMap<>();
        try (InputStream file = MethodPolicy.class.getResourceAsStream("service_config.json")) {
            if (file == null) {
                throw new IllegalStateException("service_config.json is not in the jar of the library");
            }
            JsonObject whole = JsonParser.parseReader(new InputStreamReader(file, StandardCharsets.UTF_8))
                    .getAsJsonObject();
            for (JsonElement each : whole.getAsJsonArray("methodConfig")) {
                MethodPolicy policy = of(each.getAsJsonObject());
                for (JsonElement name : each.getAsJsonObject().getAsJsonArray("name")) {
                    JsonObject named = name.getAsJsonObject();
                    String service = named.get("service").getAsString();
                    JsonElement method = named.get("method");
                    found.put(method == null ? service : service + "/" + method.getAsString(), policy);
                }
            }
        } catch (IOException error) {
            throw new UncheckedIOException(error);
        }
        return Map.copyOf(found);
    }

    private static MethodPolicy of(JsonObject config) {
        long timeout = nanos(config.get("timeout"));
        JsonObject retry = config.getAsJsonObject("retryPolicy");
        if (retry == null) {
            return new MethodPolicy(timeout, false, 1, 0, 0, 1);
        }
        return new MethodPolicy(
                timeout,
                true,
                retry.get("maxAttempts").getAsInt(),
                nanos(retry.get("initialBackoff")),
                nanos(retry.get("maxBackoff")),
                retry.get("backoffMultiplier").getAsDouble());
    }

    /** A duration as protojson writes it: {@code 0.1s}. */
    private static long nanos(JsonElement text) {
        String seconds = text.getAsString().replace("s", "");
        return new BigDecimal(seconds).movePointRight(9).longValueExact();
    }
}
