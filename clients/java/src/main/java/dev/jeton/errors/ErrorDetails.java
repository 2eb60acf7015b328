package dev.jeton.errors;

import io.grpc.Status;
import java.io.Serializable;
import java.time.Duration;
import java.util.Map;
import java.util.Objects;

/**
 * What is known of a failure. Holds no secret.
 *
 * @param message what is wrong, and what to do
 * @param code the code of gRPC
 * @param reason the reason of jeton's ErrorInfo; empty if there was none
 * @param metadata the metadata of ErrorInfo, as they were sent
 * @param retryAfter the delay of RetryInfo; null if there was none
 * @param endpoint where the call went; empty if it went nowhere
 * @param file the file that is at fault; empty if none is
 */
public record ErrorDetails(
        String message,
        Status.Code code,
        String reason,
        Map<String, String> metadata,
        Duration retryAfter,
        String endpoint,
        String file)
        implements Serializable {

    /** Copies the metadata. */
    public ErrorDetails {
        Objects.requireNonNull(message);
        Objects.requireNonNull(code);
        metadata = Map.copyOf(metadata);
    }

    /**
     * Details of a failure on this side.
     *
     * @param code the code of gRPC that is nearest
     * @param message what is wrong, and what to do
     * @return the details
     */
    public static ErrorDetails of(Status.Code code, String message) {
        return new ErrorDetails(message, code, "", Map.of(), null, "", "");
    }

    /**
     * The same, at an endpoint.
     *
     * @param place the endpoint
     * @return the details
     */
    public ErrorDetails at(String place) {
        return new ErrorDetails(message, code, reason, metadata, retryAfter, place, file);
    }

    /**
     * The same, because of a file.
     *
     * @param path the file
     * @return the details
     */
    public ErrorDetails because(String path) {
        return new ErrorDetails(message, code, reason, metadata, retryAfter, endpoint, path);
    }
}
