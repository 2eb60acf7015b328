package dev.jeton;

import com.google.protobuf.Any;
import com.google.protobuf.InvalidProtocolBufferException;
import com.google.rpc.ErrorInfo;
import dev.jeton.errors.JetonException;
import io.grpc.Metadata;
import io.grpc.Status;
import java.util.Set;
import java.util.concurrent.CompletionException;

/** What a peer's refusal of a token means, and what a call gets that has no token. */
final class Peers {
    static final String GUARD_DOMAIN = "guard.jeton.v1";
    static final Metadata.Key<byte[]> DETAILS =
            Metadata.Key.of("grpc-status-details-bin", Metadata.BINARY_BYTE_MARSHALLER);

    private static final Set<String> MENDED = Set.of("EXPIRED", "REVOKED");

    private Peers() {}

    /** Whether the status says that the token is expired or revoked, or does not say why it is refused. */
    static boolean anotherTokenMayHelp(Status status, Metadata trailers) {
        if (status.getCode() != Status.Code.UNAUTHENTICATED) {
            return false;
        }
        byte[] bytes = trailers == null ? null : trailers.get(DETAILS);
        if (bytes == null) {
            return true;
        }
        try {
            for (Any detail : com.google.rpc.Status.parseFrom(bytes).getDetailsList()) {
                if (detail.is(ErrorInfo.class)) {
                    ErrorInfo info = detail.unpack(ErrorInfo.class);
                    if (info.getDomain().equals(GUARD_DOMAIN)) {
                        return MENDED.contains(info.getReason());
                    }
                }
            }
        } catch (InvalidProtocolBufferException malformed) {
            // It says nothing of the cause.
            return true;
        }
        return true;
    }

    /** The status of a call for which there is no token. */
    static Status withoutToken(Throwable error) {
        Throwable cause = error instanceof CompletionException ? error.getCause() : error;
        Status.Code code = cause instanceof JetonException known ? known.code() : Status.Code.UNAVAILABLE;
        // A call that was never made is not the fault of its request, and no answer of its service.
        Status status = switch (code) {
            case DEADLINE_EXCEEDED, CANCELLED, UNAVAILABLE -> code.toStatus();
            case RESOURCE_EXHAUSTED, INTERNAL, UNKNOWN -> Status.UNAVAILABLE;
            default -> Status.UNAUTHENTICATED;
        };
        return status.withDescription("There is no token for this call: " + cause.getMessage())
                .withCause(cause);
    }
}
