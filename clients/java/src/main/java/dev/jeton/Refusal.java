package dev.jeton;

import com.google.protobuf.Any;
import com.google.protobuf.Duration;
import com.google.rpc.ErrorInfo;
import com.google.rpc.RetryInfo;
import io.grpc.Metadata;
import io.grpc.Status;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/**
 * The answer to a call that does not pass a guard, for gRPC and for HTTP.
 *
 * @param reason {@code NO_TOKEN}, {@code NO_VERDICT}, {@code MISSING_SCOPE}, or what is wrong with the token
 * @param message one sentence on what is wrong; nothing of the token
 * @param scopes the scopes that the call needs, of {@code MISSING_SCOPE}
 */
public record Refusal(String reason, String message, List<String> scopes) {
    static final String NO_VERDICT = "NO_VERDICT";
    static final String NO_TOKEN = "NO_TOKEN";
    static final String MISSING_SCOPE = "MISSING_SCOPE";
    private static final int RETRY_SECONDS = 1;

    /** Copies the scopes. */
    public Refusal {
        scopes = List.copyOf(scopes);
    }

    static Refusal noToken() {
        String told = "The call carries no token. Send one as authorization: Bearer.";
        return new Refusal(NO_TOKEN, told, List.of());
    }

    static Refusal noVerdict() {
        return new Refusal(NO_VERDICT, "The token could not be judged. Try again.", List.of());
    }

    static Refusal missingScope(List<String> scopes) {
        return new Refusal(MISSING_SCOPE, "The token lacks a scope that this call needs.", scopes);
    }

    static Refusal bad(String status) {
        return new Refusal(status, "The token is " + status + ". Get another one.", List.of());
    }

    /** Whether nothing was decided. */
    boolean isUndecided() {
        return reason.equals(NO_VERDICT);
    }

    /**
     * For gRPC.
     *
     * @return the status, without details
     */
    public Status status() {
        Status.Code code = switch (reason) {
            case NO_VERDICT -> Status.Code.UNAVAILABLE;
            case MISSING_SCOPE -> Status.Code.PERMISSION_DENIED;
            default -> Status.Code.UNAUTHENTICATED;
        };
        return code.toStatus().withDescription(message);
    }

    /**
     * For gRPC.
     *
     * @return trailers with the details
     */
    public Metadata trailers() {
        var whole = com.google.rpc.Status.newBuilder()
                .setCode(status().getCode().value())
                .setMessage(message)
                .addDetails(Any.pack(ErrorInfo.newBuilder()
                        .setDomain(Peers.GUARD_DOMAIN)
                        .setReason(reason)
                        .build()));
        if (isUndecided()) {
            whole.addDetails(Any.pack(RetryInfo.newBuilder()
                    .setRetryDelay(Duration.newBuilder().setSeconds(RETRY_SECONDS))
                    .build()));
        }
        Metadata trailers = new Metadata();
        trailers.put(Peers.DETAILS, whole.build().toByteArray());
        return trailers;
    }

    /**
     * For HTTP.
     *
     * @return 401, 403 or 503
     */
    public int httpStatus() {
        return switch (reason) {
            case NO_VERDICT -> 503;
            case MISSING_SCOPE -> 403;
            default -> 401;
        };
    }

    /**
     * For HTTP.
     *
     * @return the headers, with {@code WWW-Authenticate}
     */
    public Map<String, String> httpHeaders() {
        Map<String, String> headers = new LinkedHashMap<>();
        headers.put("WWW-Authenticate", switch (reason) {
            case NO_VERDICT, NO_TOKEN -> "Bearer";
            case MISSING_SCOPE -> "Bearer error=\"insufficient_scope\", scope=\"" + String.join(" ", scopes) + "\"";
            default -> "Bearer error=\"invalid_token\", error_description=\"" + message + "\"";
        });
        if (isUndecided()) {
            headers.put("Retry-After", Integer.toString(RETRY_SECONDS));
        }
        headers.put("Content-Type", "application/json");
        return headers;
    }

    /**
     * For HTTP.
     *
     * @return the body, as JSON
     */
    public String httpBody() {
        String error = switch (reason) {
            case NO_VERDICT -> "temporarily_unavailable";
            case MISSING_SCOPE -> "insufficient_scope";
            case NO_TOKEN -> "invalid_request";
            default -> "invalid_token";
        };
        return "{\"error\": \"" + error + "\", \"reason\": \"" + reason + "\"}";
    }
}
