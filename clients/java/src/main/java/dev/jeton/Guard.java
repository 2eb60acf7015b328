package dev.jeton;

import dev.jeton.errors.ErrorDetails;
import dev.jeton.errors.JetonException;
import dev.jeton.errors.UnexpectedErrorException;
import dev.jeton.v1.TokenServiceGrpc;
import dev.jeton.v1.TokenStatus;
import dev.jeton.v1.ValidateRequest;
import io.grpc.Grpc;
import io.grpc.Metadata;
import io.grpc.ServerCall;
import io.grpc.ServerCallHandler;
import io.grpc.ServerInterceptor;
import io.grpc.Status;
import java.security.cert.X509Certificate;
import java.util.ArrayList;
import java.util.Collection;
import java.util.Iterator;
import java.util.List;
import java.util.Set;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CompletionException;
import java.util.concurrent.ExecutionException;
import java.util.stream.Collectors;
import java.util.stream.Stream;

/**
 * Stands before the handlers of a server, and judges the token of each call. No verdict is cached, and nothing passes
 * without one.
 *
 * <pre>{@code
 * Guard guard = Guard.builder(client).audiences("orders").build();
 * Server server = ServerBuilder.forPort(8080).addService(new Orders()).intercept(guard).build();
 * // in a handler: Verdict.current().subject()
 * }</pre>
 *
 * <p>For servlets: {@link dev.jeton.servlet.GuardFilter}; for Spring Security:
 * {@link dev.jeton.spring.JetonAuthenticationFilter}.
 */
public final class Guard implements ServerInterceptor, AutoCloseable {
    /** How jeton is asked. */
    public enum Mode {
        /** One Validate for each call. */
        UNARY,
        /** One stream of StreamValidate for all calls: more of them in the same time. */
        STREAM
    }

    private static final System.Logger LOG = System.getLogger("dev.jeton");
    private static final String STATUS_PREFIX = "TOKEN_STATUS_";

    private final Client client;
    private final List<String> audiences;
    private final List<String> scopes;
    /** What is asked for each token. */
    private final ValidateRequest template;
    private final long deadlineNanos;
    private final Set<String> exceptions;
    private final Complaints complaints = new Complaints();
    private final Pipeline pipeline;
    private final GuardThreads threads;

    Guard(GuardBuilder builder) {
        client = builder.client;
        audiences = builder.audiences;
        scopes = builder.scopes;
        template = ValidateRequest.newBuilder()
                .addAllAudiences(audiences)
                .addAllScopes(scopes)
                .build();
        deadlineNanos = Deadlines.nanos(builder.deadline);
        exceptions = builder.exceptions.stream()
                .flatMap(name -> Stream.of(name, name.startsWith("/") ? name.substring(1) : name))
                .collect(Collectors.toUnmodifiableSet());
        threads = new GuardThreads(client.clock(), builder.executor, Deadlines.nanos(builder.recheck));
        pipeline = builder.mode == Mode.STREAM ? new Pipeline(client, threads, builder.maxWaiting, deadlineNanos) : null;
    }

    /**
     * Begins a guard.
     *
     * @param client asks jeton
     * @return the builder
     */
    public static GuardBuilder builder(Client client) {
        return new GuardBuilder(client);
    }

    /**
     * Judges the values of the {@code authorization} header of a call.
     *
     * @param authorization all values; exactly one is good
     * @param certificate what the peer presented on this connection; null if nothing, or if that cannot be seen
     * @return the verdict of a token that passes
     * @throws RefusedException if the call does not pass
     */
    public Verdict judge(Collection<String> authorization, X509Certificate certificate) {
        String token = Bearer.token(authorization.iterator());
        String thumbprint = certificate == null ? "" : Bearer.thumbprint(certificate);
        try {
            return judge(token, thumbprint).get();
        } catch (ExecutionException error) {
            throw error.getCause() instanceof RefusedException refused
                    ? refused
                    : new RefusedException(Refusal.noVerdict());
        } catch (InterruptedException interrupted) {
            Thread.currentThread().interrupt();
            throw new RefusedException(Refusal.noVerdict());
        }
    }

    /**
     * Judges a token without blocking.
     *
     * @param token the text, without {@code Bearer}
     * @param thumbprint {@code x5t#S256} of the certificate that the bearer presented; empty if none
     * @return the verdict of a token that passes, or a {@link RefusedException}. It completes on a thread of gRPC, which
     *     must not be blocked
     */
    public CompletableFuture<Verdict> judge(String token, String thumbprint) {
        ValidateRequest request;
        try {
            request = template.toBuilder()
                    .setTokenBytes(Bearer.bytes(token))
                    .setCertificateThumbprint(thumbprint)
                    .build();
        } catch (RefusedException refused) {
            return CompletableFuture.failedFuture(refused);
        }
        CompletableFuture<dev.jeton.v1.Verdict> asked = pipeline == null
                ? validate(client, request, deadlineNanos)
                : pipeline.ask(request);
        return asked.handle((verdict, error) -> {
            if (verdict == null) {
                throw undecided(error);
            }
            return hold(verdict);
        });
    }

    static CompletableFuture<dev.jeton.v1.Verdict> validate(Client client, ValidateRequest request, long nanos) {
        var method = TokenServiceGrpc.getValidateMethod();
        return client.calls()
                .begin(client.groupOf(method), method, request, nanos, Integer.MAX_VALUE)
                .future()
                .thenApply(it -> it.getVerdict());
    }

    private RefusedException undecided(Throwable error) {
        Throwable cause = error instanceof CompletionException ? error.getCause() : error;
        if (cause instanceof RefusedException refused) {
            return refused;
        }
        complaints.note(
                cause instanceof JetonException known
                        ? known
                        : new UnexpectedErrorException(ErrorDetails.of(
                                Status.Code.UNKNOWN, "It failed by " + cause.getClass().getSimpleName() + ".")));
        return new RefusedException(Refusal.noVerdict());
    }

    private Verdict hold(dev.jeton.v1.Verdict told) {
        TokenStatus status = told.getStatus();
        if (status == TokenStatus.TOKEN_STATUS_ACTIVE) {
            return Verdict.of(told);
        }
        if (status == TokenStatus.UNRECOGNIZED || status == TokenStatus.TOKEN_STATUS_UNSPECIFIED) {
            LOG.log(System.Logger.Level.ERROR, "jeton answered a status of a token that this library does not know.");
            throw new RefusedException(Refusal.noVerdict());
        }
        if (status == TokenStatus.TOKEN_STATUS_MISSING_SCOPE) {
            throw new RefusedException(Refusal.missingScope(scopes));
        }
        throw new RefusedException(Refusal.bad(status.name().substring(STATUS_PREFIX.length())));
    }

    /**
     * Whether a method or path passes without a token.
     *
     * @param name the full name of a method of gRPC, or a path of HTTP
     * @return whether {@link GuardBuilder#exceptFor} named it
     */
    public boolean isExcepted(String name) {
        return exceptions.contains(name);
    }

    @Override
    public <Q, R> ServerCall.Listener<Q> interceptCall(
            ServerCall<Q, R> call, Metadata headers, ServerCallHandler<Q, R> next) {
        if (isExcepted(call.getMethodDescriptor().getFullMethodName())) {
            return next.startCall(call, headers);
        }
        Iterable<String> all = headers.getAll(Lanes.AUTHORIZATION);
        Iterator<String> values = all == null ? new ArrayList<String>().iterator() : all.iterator();
        try {
            String token = Bearer.token(values);
            String thumbprint = Bearer.thumbprint(call.getAttributes().get(Grpc.TRANSPORT_ATTR_SSL_SESSION));
            GuardedCall<Q, R> guarded = new GuardedCall<>(this, threads, token, thumbprint, call, headers, next);
            guarded.begin();
            return guarded;
        } catch (RefusedException refused) {
            call.close(refused.refusal().status(), refused.refusal().trailers());
            return new ServerCall.Listener<>() {};
        }
    }

    /** Ends the stream of verdicts and the threads of the guard; streams that nobody would judge again end, too. */
    @Override
    public void close() {
        if (pipeline != null) {
            pipeline.close();
        }
        threads.close();
    }

    @Override
    public String toString() {
        return "Guard[audiences=" + audiences + ", scopes=" + scopes + "]";
    }
}
