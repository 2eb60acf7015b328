package dev.jeton.errors;

import io.grpc.Metadata;
import io.grpc.Status;
import io.grpc.StatusException;
import io.grpc.StatusRuntimeException;
import java.time.Duration;
import java.util.EnumSet;
import java.util.Map;
import java.util.Optional;
import java.util.Set;

/**
 * Everything that can go wrong, one class for each kind. Neither message nor fields hold a secret.
 */
public abstract class JetonException extends RuntimeException {
    private static final long serialVersionUID = 1;

    private static final Set<Status.Code> LASTING = EnumSet.of(
            Status.Code.INVALID_ARGUMENT,
            Status.Code.PERMISSION_DENIED,
            Status.Code.UNAUTHENTICATED,
            Status.Code.NOT_FOUND,
            Status.Code.FAILED_PRECONDITION,
            Status.Code.UNIMPLEMENTED);

    private final ErrorDetails details;

    JetonException(ErrorDetails details) {
        super(details.message());
        this.details = details;
    }

    /**
     * What is known of the failure.
     *
     * @return all of it
     */
    public final ErrorDetails details() {
        return details;
    }

    /**
     * The name that this kind of failure has in all libraries of jeton: that of the class without {@code Exception}.
     *
     * @return the name, such as {@code TtlExceedsMaximum}
     */
    public final String kind() {
        String name = getClass().getSimpleName();
        return name.substring(0, name.length() - "Exception".length());
    }

    /**
     * The code of gRPC.
     *
     * @return the code
     */
    public final Status.Code code() {
        return details.code();
    }

    /**
     * The reason that the server gave, as {@code TTL_EXCEEDS_MAXIMUM}.
     *
     * @return the reason; empty if there was none
     */
    public final String reason() {
        return details.reason();
    }

    /**
     * What the server told beside the reason.
     *
     * @return the metadata, as they were sent
     */
    public final Map<String, String> metadata() {
        return details.metadata();
    }

    /**
     * How long to wait before the next attempt.
     *
     * @return the delay, if the server named one
     */
    public final Optional<Duration> retryAfter() {
        return Optional.ofNullable(details.retryAfter());
    }

    /**
     * Where the call went.
     *
     * @return the endpoint; empty if the call went nowhere
     */
    public final String endpoint() {
        return details.endpoint();
    }

    /**
     * The file that is at fault.
     *
     * @return its path; empty if none is
     */
    public final String file() {
        return details.file();
    }

    /**
     * Whether no repetition mends it, but only somebody's act.
     *
     * @return whether it lasts
     */
    public final boolean isLasting() {
        return this instanceof EndpointInvalidException
                || this instanceof CredentialInvalidException
                || LASTING.contains(code());
    }

    /**
     * One more exception of this kind, for another thread; this one is its cause.
     *
     * @return the exception
     */
    public final JetonException again() {
        return Kinds.again(this);
    }

    /**
     * The failure that a status means, of a call that was made with stubs of one's own.
     *
     * @param error what the stub threw
     * @return the failure, typed
     */
    public static JetonException from(StatusRuntimeException error) {
        return from(error.getStatus(), error.getTrailers(), "");
    }

    /**
     * The failure that a status means, of a call that was made with stubs of one's own.
     *
     * @param error what the stub threw
     * @return the failure, typed
     */
    public static JetonException from(StatusException error) {
        return from(error.getStatus(), error.getTrailers(), "");
    }

    /**
     * The failure that a status means.
     *
     * @param status the status
     * @param trailers the trailers that came with it; may be null
     * @param endpoint where it came from; empty if that is not known
     * @return the failure, typed
     */
    public static JetonException from(Status status, Metadata trailers, String endpoint) {
        return Statuses.read(status, trailers, endpoint);
    }
}
