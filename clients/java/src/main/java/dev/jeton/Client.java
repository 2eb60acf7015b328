package dev.jeton;

import dev.jeton.v1.BatchValidateRequest;
import dev.jeton.v1.BatchValidateResponse;
import dev.jeton.v1.DiscoveryServiceGrpc;
import dev.jeton.v1.GetCallerRequest;
import dev.jeton.v1.GetCallerResponse;
import dev.jeton.v1.GetJwksRequest;
import dev.jeton.v1.GetJwksResponse;
import dev.jeton.v1.GetServerInfoRequest;
import dev.jeton.v1.GetServerInfoResponse;
import dev.jeton.v1.IssueRequest;
import dev.jeton.v1.RefreshRequest;
import dev.jeton.v1.RevocationReason;
import dev.jeton.v1.RevokeResponse;
import dev.jeton.v1.TokenServiceGrpc;
import dev.jeton.v1.ValidateRequest;
import io.grpc.Channel;
import io.grpc.MethodDescriptor;
import java.time.Duration;
import java.util.Collection;
import java.util.List;

/**
 * Makes the calls of jeton, at one of several endpoints, with typed errors. Made without any call. Safe to share between
 * threads. Every failure is a {@link dev.jeton.errors.JetonException}; no call lasts longer than its deadline.
 *
 * <pre>{@code
 * try (Client client = Client.builder("https://jeton.example").apiKeyFile(Path.of("/run/secrets/jeton")).build()) {
 *     Verdict verdict = client.validate(token, "orders");
 * }
 * }</pre>
 */
public final class Client implements AutoCloseable {
    private final Calls calls;
    private final Group group;
    private final Group adminGroup;
    private final MonotonicClock clock;
    private final Admin admin;

    Client(ClientBuilder builder) {
        group = new Group(builder.endpoints());
        adminGroup = builder.adminEndpoints().isEmpty() ? group : new Group(builder.adminEndpoints());
        clock = builder.clock();
        calls = new Calls(new Lanes(builder.credentials(), builder.channel()), clock);
        admin = new Admin(this);
    }

    /**
     * Begins a client.
     *
     * @param endpoints {@code https://host[:port]} or {@code http://host[:port]}, in the order in which they are tried
     * @return the builder
     */
    public static ClientBuilder builder(String... endpoints) {
        return new ClientBuilder(List.of(endpoints));
    }

    /**
     * Begins a client whose endpoints come from elsewhere.
     *
     * @param endpoints as above
     * @return the builder
     */
    public static ClientBuilder builder(Collection<String> endpoints) {
        return new ClientBuilder(List.copyOf(endpoints));
    }

    /**
     * Issues a token. A {@link TokenSource} does it, and renews the token.
     *
     * @param request what the token is for
     * @return the token
     */
    public IssuedToken issue(IssueRequest request) {
        return IssuedToken.of(call(TokenServiceGrpc.getIssueMethod(), request).getToken());
    }

    /**
     * Renews a session.
     *
     * @param refreshToken the latest refresh token of the session
     * @return the new token, with the successor of the refresh token
     */
    public IssuedToken refresh(Secret refreshToken) {
        RefreshRequest request =
                RefreshRequest.newBuilder().setRefreshToken(refreshToken.reveal()).build();
        return IssuedToken.of(call(TokenServiceGrpc.getRefreshMethod(), request).getToken());
    }

    /**
     * Judges a token. A bad token is an answer, no error.
     *
     * @param token the token, without {@code Bearer}
     * @param audiences those of which the token must name one; none: those of this client's registration
     * @return the verdict
     */
    public Verdict validate(Secret token, String... audiences) {
        ValidateRequest request = ValidateRequest.newBuilder()
                .setToken(token.reveal())
                .addAllAudiences(List.of(audiences))
                .build();
        return Verdict.of(call(TokenServiceGrpc.getValidateMethod(), request).getVerdict());
    }

    /**
     * Judges up to 1000 tokens.
     *
     * @param tokens the tokens
     * @param audiences as for one
     * @return a verdict for each, in their order
     */
    public List<Verdict> validateAll(List<Secret> tokens, String... audiences) {
        BatchValidateRequest.Builder request = BatchValidateRequest.newBuilder();
        for (Secret token : tokens) {
            request.addRequestsBuilder().setToken(token.reveal()).addAllAudiences(List.of(audiences));
        }
        BatchValidateResponse answer = call(TokenServiceGrpc.getBatchValidateMethod(), request.build());
        return answer.getVerdictsList().stream().map(Verdict::of).toList();
    }

    /**
     * Revokes a token, or the session of a refresh token. No Validate that begins after it finds the token good.
     *
     * @param token the token
     * @param reason why
     * @return what happened
     */
    public RevokeResponse revoke(Secret token, RevocationReason reason) {
        return revoke(Revocation.ofToken(token).because(reason));
    }

    /**
     * Revokes a token or a session. Wide targets are revoked by {@link Admin#revoke}.
     *
     * @param what is revoked, and how
     * @return what happened
     */
    public RevokeResponse revoke(Revocation what) {
        return call(TokenServiceGrpc.getRevokeMethod(), what.request());
    }

    /**
     * Says who this client is to jeton.
     *
     * @return the registration
     */
    public GetCallerResponse getCaller() {
        return call(TokenServiceGrpc.getGetCallerMethod(), GetCallerRequest.getDefaultInstance());
    }

    /**
     * The public keys.
     *
     * @return the key set
     */
    public GetJwksResponse getJwks() {
        return call(DiscoveryServiceGrpc.getGetJwksMethod(), GetJwksRequest.getDefaultInstance());
    }

    /**
     * Version and limits of the server.
     *
     * @return what the server says of itself
     */
    public GetServerInfoResponse getServerInfo() {
        return call(DiscoveryServiceGrpc.getGetServerInfoMethod(), GetServerInfoRequest.getDefaultInstance());
    }

    /**
     * The calls of AdminService.
     *
     * @return the calls
     */
    public Admin admin() {
        return admin;
    }

    /**
     * Makes any call of the API that is no stream, with the deadline of its method. Messages that hold a token print it:
     * print them by {@link Redacted#text}.
     *
     * @param <Q> the type of the request
     * @param <R> the type of the answer
     * @param method as {@code TokenServiceGrpc.getValidateMethod()}
     * @param request the request
     * @return the answer
     */
    public <Q, R> R call(MethodDescriptor<Q, R> method, Q request) {
        return calls.make(groupOf(method), method, request, MethodPolicy.of(method).timeoutNanos());
    }

    /**
     * Makes any call of the API that is no stream. Messages that hold a token print it: print them by
     * {@link Redacted#text}.
     *
     * @param <Q> the type of the request
     * @param <R> the type of the answer
     * @param method as {@code TokenServiceGrpc.getValidateMethod()}
     * @param request the request
     * @param deadline how long the call may take, with all its repetitions
     * @return the answer
     */
    public <Q, R> R call(MethodDescriptor<Q, R> method, Q request, Duration deadline) {
        return calls.make(groupOf(method), method, request, Deadlines.nanos(deadline));
    }

    /**
     * A channel for stubs of one's own, as for the streams BulkRevoke and StreamValidate. Its calls go to the current
     * endpoint with the credential of this client, are not repeated, and fail with what gRPC throws:
     * {@link dev.jeton.errors.JetonException#from(io.grpc.StatusRuntimeException)} types it.
     *
     * @return the channel, which ends with this client
     */
    public Channel channel() {
        return new ClientChannel(this);
    }

    Group groupOf(MethodDescriptor<?, ?> method) {
        return "jeton.v1.AdminService".equals(method.getServiceName()) ? adminGroup : group;
    }

    Group adminGroup() {
        return adminGroup;
    }

    Calls calls() {
        return calls;
    }

    MonotonicClock clock() {
        return clock;
    }

    /** Ends all connections. Calls that run fail with {@link dev.jeton.errors.ClosedException}. */
    @Override
    public void close() {
        calls.close();
    }

    @Override
    public String toString() {
        return "Client" + group.endpoints;
    }
}
